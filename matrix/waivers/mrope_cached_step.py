"""M-RoPE: a cached step that is given a mask and no positions gets one position for each column of the mask.

`compute_3d_position_ids`, `modeling_qwen2_vl.py` and those that copy it, counts along the whole attention mask, which
covers the cache too, and does not cut off what the call does not feed. `generate` makes positions itself.
"""

import torch
import transformers

TEXT = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "max_window_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 4}
ROPE = {"rope_theta": 10000.0, "rope_type": "default", "mrope_section": [2, 3, 3]}
VISION = {"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2}
IMAGE, START, END = 33, 34, 35  # 4 tokens of it make an image of 4 by 4 patches
IDS = {"image_token_id": IMAGE, "vision_start_token_id": START, "vision_end_token_id": END, "video_token_id": 36}

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers.Qwen2VLModel, "compute_3d_position_ids"):
    print("compute_3d_position_ids is not in this release")
    raise SystemExit(0)
config = transformers.Qwen2VLConfig(text_config={**TEXT, **HEADS, "rope_parameters": ROPE}, vision_config=VISION, **IDS)
model = transformers.Qwen2VLForConditionalGeneration(config).eval()
tokens = torch.tensor([[START] + [IMAGE] * 4 + [END, 5, 6, 7, 8]])
mask, kinds = torch.ones_like(tokens), (tokens == IMAGE).int()
image = {"pixel_values": torch.randn(16, 384), "image_grid_thw": torch.tensor([[1, 4, 4]])}
truth = model(tokens, attention_mask=mask, mm_token_type_ids=kinds, **image).logits[:, -1]
cache = transformers.DynamicCache()  # handed over by its place: 5.24 renamed the argument
first = model(tokens[:, :-1], mask[:, :-1], None, cache, mm_token_type_ids=kinds[:, :-1], use_cache=True, **image)
bare = model(tokens[:, -1:], None, None, cache, use_cache=True).logits[:, -1]
print(f"a step without a mask: expected about 0, off by {float((bare - truth).abs().max()):.2g}")
cache.crop(-1)
try:
    seen = model(tokens[:, -1:], mask, None, cache, use_cache=True).logits[:, -1]
except RuntimeError as error:
    raise SystemExit(f"FAULT: one token and a mask of {mask.shape[1]} columns: {str(error).splitlines()[0]}") from None
off = float((seen - truth).abs().max())
print(f"a step with a mask: expected about 0, off by {off:.2g}")
raise SystemExit(off > 1e-4)
