"""A `DynamicCache` that records its past, so that it can be cropped, and a sliding window: the next call raises.

The layer hands out all that it has recorded, the mask is made for the window alone. With FlashAttention-2 and padding
nothing raises: of the keys the first are taken, as many as the mask is long. Seen with transformers 5.17.0; 5.24.0 is
right, and 5.18.0 hands out what the mask is made for. Beside it a cache that records nothing.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.MistralConfig(num_attention_heads=4, num_key_value_heads=2, sliding_window=16, **SMALL)
model, tokens = transformers.MistralForCausalLM(config).eval(), torch.randint(4, 256, (1, 31))
wrong = False
for records in (False, True):
    cache = transformers.DynamicCache(config=config)
    if records:
        cache.activate_past_recording()
    try:
        with torch.no_grad():
            expected = model(tokens).logits
            seen = [model(part, past_key_values=cache).logits for part in tokens.split([20, 1, 4, 6], dim=1)]
        off = float((torch.cat(seen, dim=1) - expected).abs().max())
        print(f"records its past: {records}; expected the logits of one pass, off by {off:.2g}")
        wrong |= not off < 1e-4
    except RuntimeError as error:
        print(f"records its past: {records}; expected the logits of one pass, seen {type(error).__name__}: {error}")
        wrong = True
raise SystemExit(wrong)
