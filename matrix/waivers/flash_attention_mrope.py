"""FlashAttention-2 takes position_ids of shape (3, 1, length), as multimodal models give, for packed sequences.

There is one sequence, so they must change nothing. The attention function goes by `_is_packed_sequence`,
modeling_flash_attention_utils.py. Needs a GPU and flash-attn.
"""

import torch
import transformers
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import is_flash_attn_2_available

LENGTH = 48

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not is_flash_attn_2_available():
    print("cannot tell without a GPU and flash-attn")
    raise SystemExit(2)
config = transformers.LlamaConfig(hidden_size=64, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=1)
config._attn_implementation = "flash_attention_2"
module = transformers.LlamaModel(config).to("cuda", torch.bfloat16).layers[0].self_attn
query = torch.randn(1, 4, LENGTH, 16, dtype=torch.bfloat16, device="cuda")
key, value = torch.randn(2, 1, 2, LENGTH, 16, dtype=torch.bfloat16, device="cuda")
# Time, height and width of eight tokens of text, an image of 4 x 8, and eight more of text.
text = torch.arange(8).expand(3, -1)
rows, columns = torch.meshgrid(torch.arange(4), torch.arange(8), indexing="ij")
image = torch.stack([torch.zeros(32, dtype=torch.long), rows.flatten(), columns.flatten()]) + 8
positions = torch.cat([text, image, text + 16], dim=1)[:, None].cuda()
attend = ALL_ATTENTION_FUNCTIONS["flash_attention_2"]
plain, _ = attend(module, query, key, value, None, scaling=0.25)
try:
    given, _ = attend(module, query, key, value, None, scaling=0.25, position_ids=positions)
    off = float((plain - given).abs().max())
except RuntimeError as error:  # an illegal memory access
    raise SystemExit(f"FAULT: expected no difference, {str(error).strip().splitlines()[0]}") from None
print(f"expected no difference, largest difference: {off}")
raise SystemExit(not off < 0.02)
