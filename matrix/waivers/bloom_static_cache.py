"""BLOOM called on a `StaticCache` with a mask of the tokens so far: a RuntimeError about sizes.

Its ALiBi tensor is as long as the mask, the scores as long as the cache. `generate` makes the mask longer, a forward
pass does not. Seen with transformers 5.17.0 and 5.24.0.
"""

import torch
import transformers

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.BloomConfig(vocab_size=256, hidden_size=64, n_layer=2, n_head=4)
model, tokens = transformers.BloomForCausalLM(config).eval(), torch.randint(4, 256, (2, 13))
cache = transformers.StaticCache(config=config, max_cache_len=52)
with torch.no_grad():
    expected = model(tokens).logits
    try:
        seen = model(tokens, attention_mask=torch.ones_like(tokens), past_key_values=cache).logits
    except RuntimeError as error:
        print(f"expected the logits of one pass, seen {type(error).__name__}: {error}")
        raise SystemExit(1) from None
off = float((seen - expected).abs().max())
print(f"expected the logits of one pass, off by {off:.2g}")
raise SystemExit(off > 1e-3)
