"""Moshi: one pass attends to all that came before, a decoding step to what the cache's window holds.

The mask is that of `create_causal_mask`, without a window, while `DynamicCache(config=...)` makes layers that forget
all beyond `sliding_window` (modeling_moshi.py, MoshiModel.forward). Beyond that many tokens, 3000 by default, a
generation goes on with other logits than the model has.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
WINDOW = 8

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.MoshiConfig(**SIZES, num_key_value_heads=4, head_dim=16, sliding_window=WINDOW)
model = transformers.MoshiForCausalLM._from_config(config, attn_implementation="sdpa").eval()
for parameter in model.parameters():
    if parameter.ndim == 2:
        parameter.data.mul_(4)  # under the weights that a class begins with little shows
off = {}
for length in (WINDOW - 2, 5 * WINDOW):
    text = torch.randint(4, 200, (1, length + 1))
    mask = torch.ones_like(text)  # without one the eager pass of 5.17 is not causal, which is another fault
    with torch.no_grad():
        whole = model(text, attention_mask=mask, use_cache=False).logits[0, -1]
        cache = model(text[:, :-1], attention_mask=mask[:, :-1], use_cache=True).past_key_values
        place = torch.tensor([[length]])
        step = model(text[:, -1:], attention_mask=mask, past_key_values=cache, position_ids=place).logits[0, -1]
    off[length] = float((step - whole).abs().max())
    print(
        f"after {length} tokens, window {WINDOW}: expected the logits of one pass, a step is off by {off[length]:.2g}"
    )
raise SystemExit(max(off.values()) > 0.01 * float(whole.std()))
