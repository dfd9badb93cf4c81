"""Granite 4 Vision: asked for a cache, the model gives none back, and a loop that hands it on goes on without context.

Granite4VisionTextModel.forward has `use_cache` and, unlike GraniteModel, makes no DynamicCache where none is given
(modeling_granite4_vision.py). `generate` makes one itself and is right; a loop of one's own is silently wrong, and with
a mask of all tokens raises.
"""

import torch
import transformers

TEXT = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}

try:
    from transformers.models.granite4_vision.modeling_granite4_vision import Granite4VisionTextModel
except ImportError as error:
    print("transformers", transformers.__version__, "not in this release:", error)
    raise SystemExit(0) from None

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
model = Granite4VisionTextModel(Granite4VisionTextModel.config_class(**TEXT, **HEADS, initializer_range=0.3)).eval()
tokens = torch.randint(4, 256, (1, 20))
whole = model(tokens, use_cache=False).last_hidden_state[:, -1]
kept = model(tokens[:, :-1], use_cache=True).past_key_values
step = model(tokens[:, -1:], past_key_values=kept, use_cache=True).last_hidden_state[:, -1]
off = float((step - whole).abs().max())
print(f"use_cache=True: expected a cache, seen {type(kept).__name__}")
spread = float(whole.std())
print(f"the next token: expected the states of one pass, off by {off:.3g} where they spread by {spread:.3g}")
raise SystemExit(off > 0.01 * spread)
