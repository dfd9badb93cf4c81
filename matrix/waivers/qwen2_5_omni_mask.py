"""Qwen2.5-Omni: without an attention_mask the thinker gives image tokens the positions of text, without a word.

`compute_3d_position_ids`, `modeling_qwen2_5_omni.py`, works the three axes out if `input_ids` and `attention_mask` are
there; `get_rope_index` can do without the mask where there are images. A mask of ones, which says nothing, changes the
logits.
"""

import torch
import transformers

TEXT = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 4}
ROPE = {"rope_theta": 10000.0, "rope_type": "default", "mrope_section": [2, 3, 3]}
VISION = {"depth": 1, "hidden_size": 64, "num_heads": 4, "intermediate_size": 128, "patch_size": 8, "window_size": 32}
AUDIO = {"encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 128, "d_model": 64, "output_dim": 64}
START, IMAGE, END = 33, 34, 35

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "Qwen2_5OmniThinkerConfig"):
    print("Qwen2.5-Omni is not in this release")
    raise SystemExit(0)
config = transformers.Qwen2_5OmniThinkerConfig(
    text_config={**TEXT, **HEADS, "rope_parameters": ROPE},
    vision_config={**VISION, "out_hidden_size": 64, "fullatt_block_indexes": [0]},
    audio_config=AUDIO,
    **{"vision_start_token_id": START, "image_token_index": IMAGE, "vision_end_token_id": END},
    **{"audio_token_index": 36, "video_token_index": 37, "audio_start_token_id": 38},
)
model = transformers.Qwen2_5OmniThinkerForConditionalGeneration(config).eval()
for parameter in model.parameters():
    if parameter.ndim == 2:
        parameter.mul_(4)  # under the weights that a class begins with little shows
row = torch.tensor([[START] + [IMAGE] * 4 + [END, 5, 6, 7, 8]])
given = {"pixel_values": torch.randn(16, 384), "image_grid_thw": torch.tensor([[1, 4, 4]])}
without, of_ones = model(row, **given).logits, model(row, attention_mask=torch.ones_like(row), **given).logits
off, spread = float((without - of_ones).abs().max()), float(of_ones.std())
print(f"expected the same logits without a mask as with one of ones, off by {off:.2g}, they spread by {spread:.2g}")
raise SystemExit(off > 1e-3)
