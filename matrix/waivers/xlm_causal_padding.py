"""Causal XLM attends to left padding: `get_masks` makes a triangle and leaves the attention_mask out.

XLMModel multiplies what a layer gives by the mask, but a padded position still has a key and a value in each layer.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "emb_dim": 64, "n_layers": 2, "n_heads": 4, "mask_index": 232}
PADDING = 6

torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 232, (1, 12), generator=torch.Generator().manual_seed(1))
padded = torch.nn.functional.pad(tokens, (PADDING, 0), value=2)
mask = torch.nn.functional.pad(torch.ones_like(tokens), (PADDING, 0))
wrong = False
for causal in (False, True):
    torch.manual_seed(0)
    model = transformers.XLMWithLMHeadModel(transformers.XLMConfig(**SMALL, causal=causal)).eval()
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.mul_(2)  # under the weights that a class begins with little shows
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    alone = model(tokens).logits
    given = model(padded, attention_mask=mask, position_ids=positions).logits[:, PADDING:]
    off, spread = float((given - alone).abs().max()), float(alone.std())
    print(f"causal={causal}: expected the logits of the row alone, off by {off:.2g} where they spread by {spread:.2g}")
    wrong |= off > 1e-3 * spread
raise SystemExit(wrong)
