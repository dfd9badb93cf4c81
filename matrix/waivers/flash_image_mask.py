"""Gemma3, Gemma4 and PaliGemma in flash_attention_2: who attends to later tokens is not what the model says.

Only eager and sdpa get the mask of it; `flash_attention_mask` drops it without a word. Tokens of an image do not attend
to each other (Gemma), those of an answer attend to what comes after (PaliGemma, `token_type_ids` of 1). Transformers
5.24 refuses flash attention instead. Runs on a CPU, without flash-attn: a stand-in does what that would.
"""

import torch
import transformers
from torch.nn.functional import scaled_dot_product_attention as attention
from transformers.integrations import flash_attention

IMAGE = 63  # 16 tokens of it are a picture
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT = SMALL | {"vocab_size": 64, "num_key_value_heads": 1, "head_dim": 16, "initializer_range": 0.05}
VISION = SMALL | {"image_size": 32, "patch_size": 8, "vision_use_head": False}

# What flash-attn computes where nothing is padded and no window is shorter than the text.
flash_attention._flash_attention_forward = lambda q, k, v, mask, is_causal, softmax_scale=None, **_: attention(
    q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), None, 0.0, is_causal, scale=softmax_scale, enable_gqa=True
).transpose(1, 2)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "Gemma3Config"):
    print("Gemma 3 is not in this release")
    raise SystemExit(0)
torch.manual_seed(0)
ids, pixels, wrong = torch.tensor([[2, *[IMAGE] * 16, *range(3, 11)]]), torch.randn(1, 3, 32, 32), False
for name, text, more in (("Gemma3", "gemma3_text", {"mm_tokens_per_image": 16}), ("PaliGemma", "gemma", {})):
    more |= {"vision_config": VISION, "image_token_id": IMAGE, "image_token_index": IMAGE, "projection_dim": 32}
    config = getattr(transformers, f"{name}Config")(text_config=TEXT | {"model_type": text}, **more)
    model = getattr(transformers, f"{name}ForConditionalGeneration")._from_config(config, attn_implementation="eager")
    types = ((ids == IMAGE) == (name == "Gemma3")).long()  # 1 is an image for Gemma3, an answer for PaliGemma
    with torch.no_grad():
        eager = model.eval()(input_ids=ids, pixel_values=pixels, token_type_ids=types).logits
        model.config._attn_implementation = "flash_attention_2"
        flash = model(input_ids=ids, pixel_values=pixels, token_type_ids=types).logits
    off, allowed = (flash - eager).abs().max().item(), type(model)._supports_flash_attn
    print(f"{name}: expected no flash attention or an error of 0, seen {allowed=} and {off:.2g}")
    wrong |= allowed and off > 1e-3
raise SystemExit(wrong)
