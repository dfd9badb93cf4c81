"""RecurrentGemma sees left padding: neither its convolution nor its recurrence is told of the mask.

With the position_ids of `generate`, which are 0 all over the padding, the recurrence is reset; the convolution is not.
Seen with transformers 4.57.6, 5.23.0 and 5.24.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128, "lru_width": 64}
ATTENTION = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "attention_window_size": 64}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
model = transformers.RecurrentGemmaForCausalLM(transformers.RecurrentGemmaConfig(**SMALL, **ATTENTION)).eval()
for parameter in model.parameters():
    if parameter.ndim == 2:
        parameter.data.mul_(4)  # under the weights that a class begins with little shows
tokens = torch.randint(4, 256, (1, 12))
padded = torch.nn.functional.pad(tokens, (6, 0), value=1)
mask = (torch.arange(18)[None] >= 6).long()
wrong = False
for name, given in (
    ("no position_ids", {}),
    ("those of generate", {"position_ids": (mask.cumsum(-1) - 1).clamp_min(0)}),
):
    with torch.no_grad():
        alone = model(tokens).logits
        off = float((model(padded, attention_mask=mask, **given).logits[:, 6:] - alone).abs().max())
    print(
        f"{name}: expected the logits of the row alone, off by {off:.2g} where they spread by {float(alone.std()):.2g}"
    )
    wrong |= off > 1e-3
raise SystemExit(wrong)
