"""HunYuan-VL: `get_rope_index` counts images over the whole batch, so a row's logits follow its place in it.

The docstring of `get_rope_index` says that the fourth axis is "the ordinal of the image/frame in the input sequence,
so all visual tokens from the first image get `0`". The counter begins once per batch, not once per row.
"""

import torch
import transformers

TEXT = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "head_dim": 16}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 4}
ROPE = {"rope_theta": 10000.0, "rope_type": "default", "mrope_section": [2, 2, 2, 2]}
VISION = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "out_hidden_size": 64, "patch_size": 8}
SIZES = {"max_image_size": 32, "min_image_size": 32, "text_hidden_size": 64, "temporal_patch_size": 1}
IMAGE = 33  # 8 tokens of it make an image of 4 by 4 patches

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "HunYuanVLConfig"):
    print("HunYuanVL is not in this release")
    raise SystemExit(0)
config = transformers.HunYuanVLConfig(
    text_config={**TEXT, **HEADS, "rope_parameters": ROPE},
    vision_config={**VISION, **HEADS, **SIZES},
    **{"image_token_id": IMAGE, "im_start_id": 34, "im_end_id": 35, "im_newline_id": 36},
)
model = transformers.HunYuanVLForConditionalGeneration(config).eval()
for parameter in model.parameters():
    if parameter.ndim == 2:
        parameter.mul_(4)  # under the weights that a class begins with little shows
row = torch.tensor([[IMAGE] * 8 + [5, 6, 7, 8]])
rows, kinds = row.repeat(3, 1), (row == IMAGE).int().repeat(3, 1)
pixels, grid = torch.randn(16, 192).repeat(3, 1), torch.tensor([[1, 4, 4]] * 3)
index = model.model.get_rope_index(rows, kinds, image_grid_thw=grid)[0][3, :, 1].tolist()
print(f"index of the one image of each of three equal rows: expected [0, 0, 0], seen {index}")
seen = model(rows, mm_token_type_ids=kinds, pixel_values=pixels, image_grid_thw=grid).logits
off = [f"{float((seen[place] - seen[0]).abs().max()):.2g}" for place in (1, 2)]
print(f"expected the logits of the first row, others are off by {off} where they spread by {float(seen.std()):.2g}")
raise SystemExit(index != [0, 0, 0])
