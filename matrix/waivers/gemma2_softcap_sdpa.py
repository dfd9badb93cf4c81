"""Gemma 2 with SDPA: the soft cap on the attention scores is left out without a word.

sdpa_attention_forward swallows `softcap` among its other arguments; transformers refuses since 5.21.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "query_pre_attn_scalar": 16}

print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 256, (2, 32), generator=torch.Generator().manual_seed(0))
for softcap in (None, 1.0):
    logits = {}
    for attention in ("eager", "sdpa"):
        torch.manual_seed(0)
        config = transformers.Gemma2Config(**SIZES, **HEADS, initializer_range=0.3, attn_logit_softcapping=softcap)
        try:
            model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
        except ValueError as error:
            print(f"expected the soft cap or an error, got {error}")
            raise SystemExit(0) from None
        with torch.no_grad():
            logits[attention] = model(tokens).logits
    off = float((logits["eager"] - logits["sdpa"]).abs().max())
    spread = float(logits["eager"].std())
    print(
        f"soft cap {softcap}: expected the logits of eager, SDPA is off by {off:.3g} where they spread by {spread:.3g}"
    )
raise SystemExit(off > 0.01 * spread)
