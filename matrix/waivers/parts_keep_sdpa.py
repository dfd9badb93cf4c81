"""An auto class that is asked for eager attention loads parts of some models with SDPA.

AutoConfig takes attn_implementation away and hands it to the config, which tells the parts that it has by then: those
of Phi-4 multimodal, CLIP and others are made afterwards. Seen with transformers 4.57.6; not with 4.48.3 and 5.23.0.
"""

import tempfile

import torch
import transformers

PART = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1}
VISION = {**PART, "image_size": 32, "patch_size": 8}

print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.CLIPConfig(vision_config=VISION, text_config={**PART, "vocab_size": 99}, projection_dim=32)
seen = {}
with tempfile.TemporaryDirectory() as folder:
    transformers.CLIPForImageClassification(config).save_pretrained(folder)
    for name in ("CLIPForImageClassification", "AutoModelForImageClassification"):
        model = getattr(transformers, name).from_pretrained(folder, attn_implementation="eager")
        seen[name] = sorted({part.config._attn_implementation for part in model.modules() if hasattr(part, "config")})
        print(f"{name}: expected eager attention alone, seen {', '.join(seen[name])}")
raise SystemExit(any("sdpa" in found for found in seen.values()))
