"""bitsandbytes leaves the out_proj of torch.nn.MultiheadAttention, as in SigLIP's pooling head, as it was.

`replace_with_bnb_linear` of transformers looks for layers whose type is nn.Linear; out_proj is of a class that derives
from it, and the weight of its other projections is no layer at all. Nothing is said of either. Runs on a CPU too.
"""

import tempfile

import torch
import transformers

VISION = {"image_size": 32, "patch_size": 8, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}

print("torch", torch.__version__, "transformers", transformers.__version__)
if transformers.__version__ < "4.49" and not torch.cuda.is_available():  # bitsandbytes_frozen_devices.py
    print("cannot tell without a GPU: this release quantises nothing on a CPU")
    raise SystemExit(2)
with tempfile.TemporaryDirectory() as folder:
    config = transformers.SiglipVisionConfig(num_hidden_layers=1, **VISION)
    transformers.SiglipVisionModel(config).save_pretrained(folder)
    asked = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", llm_int8_skip_modules=[])
    model = transformers.SiglipVisionModel.from_pretrained(folder, quantization_config=asked)
wrong = False
for name, module in model.named_modules():
    if isinstance(module, torch.nn.Linear):
        kind = type(module).__name__
        print(f"{name}: expected Linear4bit, seen {kind}")
        wrong |= kind != "Linear4bit"
raise SystemExit(wrong)
