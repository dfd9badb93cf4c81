"""Pixtral's vision tower in flash_attention_2: row and column of each patch are taken for positions of packed texts.

`_is_packed_sequence` is handed `position_ids` of shape (patches, 2): a sequence then begins at each patch of row or
column 0, and a patch attends to a few others, of its own image or not. Runs on a CPU, without flash-attn: a stand-in
for `flash_attn_varlen_func` notes where sequences begin.
"""

import torch
import transformers
from transformers import modeling_flash_attention_utils as utils

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
SIDE, PATCH, IMAGES = 32, 8, 2
PATCHES = (SIDE // PATCH) ** 2
seen = []


def noted(query, key, value, cu_seqlens_q=None, **_):
    """Note where sequences begin."""
    seen.append([0, query.shape[1]] if cu_seqlens_q is None else cu_seqlens_q.tolist())
    return query


print("torch", torch.__version__, "transformers", transformers.__version__)
if not getattr(transformers.PixtralVisionModel, "_supports_flash_attn", False):
    print("flash attention of Pixtral is not in this release")
    raise SystemExit(0)
utils._lazy_imports = lambda *_, **__: (noted,) * 5  # the functions of flash-attn, however many a release takes
config = transformers.PixtralVisionConfig(image_size=SIDE, patch_size=PATCH, **SMALL)
torch.manual_seed(0)
model = transformers.PixtralVisionModel(config).eval()
model.config._attn_implementation = "flash_attention_2"
with torch.no_grad():
    model(torch.randn(IMAGES, 3, SIDE, SIDE))
expected = [[0, PATCHES, PATCHES * 2]]
print(f"sequences of {IMAGES} images of {PATCHES} patches: expected bounds {expected}, seen {seen}")
raise SystemExit(seen != expected)
