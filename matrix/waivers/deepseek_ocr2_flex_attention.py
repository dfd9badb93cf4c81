"""DeepSeek-OCR-2 says that it supports flex attention and raises KeyError in it: its SAM tower has eager and sdpa only.

Runs on a CPU.
"""

import torch
import transformers

try:
    from transformers.models.deepseek_ocr2 import modeling_deepseek_ocr2 as library
    from transformers.models.deepseek_ocr2.configuration_deepseek_ocr2 import DeepseekOcr2SamVisionConfig
except ImportError as error:
    print("transformers", transformers.__version__, "not in this release:", error)
    raise SystemExit(0) from None

SMALL = {"hidden_size": 32, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 64}
SMALL |= {"image_size": 64, "patch_size": 16, "window_size": 2, "global_attn_indexes": [0]}

print("torch", torch.__version__, "transformers", transformers.__version__)
config = DeepseekOcr2SamVisionConfig(**SMALL)
tower = library.DeepseekOcr2SamVisionEncoder
supported, seen = tower._supports_flex_attn, "a model"
if supported:
    try:
        tower._from_config(config, attn_implementation="flex_attention")
    except KeyError as error:
        seen = f"KeyError {error}"
print(f"flex attention supported: {supported}; expected a model, seen {seen}")
raise SystemExit(seen != "a model")
