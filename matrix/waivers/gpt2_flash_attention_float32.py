"""GPT-2 with flash_attention_2 in float32 raises a bare StopIteration instead of the documented error.

get_target_dtype looks for the dtype to cast to with `next(layer for layer in module.modules() if isinstance(layer,
torch.nn.Linear))`, and GPT-2's attention has Conv1D layers only. Needs a GPU and flash-attn.
"""

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import is_flash_attn_2_available

print("torch", torch.__version__, "transformers", transformers.__version__)
if not is_flash_attn_2_available():
    print("cannot tell without a GPU and flash-attn")
    raise SystemExit(2)
config = GPT2Config(vocab_size=256, n_embd=64, n_layer=2, n_head=4, attn_implementation="flash_attention_2")
model = GPT2LMHeadModel(config).cuda().eval()
try:
    model(torch.randint(4, 256, (2, 32), device="cuda"))
    print("expected the documented error, or none: no error")
except StopIteration as error:
    raise SystemExit(f"FAULT: expected the documented error, or none: {error!r}") from None
except (RuntimeError, ValueError) as error:
    print("expected the documented error, or none:", error)
