"""Falcon: bitsandbytes quantisation is asked for, reported as done, and silently left out.

replace_with_bnb_linear converts a module only if `type(module) is nn.Linear`; Falcon's layers are FalconLinear,
a subclass. transformers 4.48.3 converted them (isinstance). The model keeps its 16-bit weights and size.
"""

import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, FalconConfig, FalconForCausalLM

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
config = FalconConfig(vocab_size=256, hidden_size=64, num_hidden_layers=2, num_attention_heads=4)
with tempfile.TemporaryDirectory() as folder:
    FalconForCausalLM(config).save_pretrained(folder)
    for flag, layer in {"load_in_8bit": "Linear8bitLt", "load_in_4bit": "Linear4bit"}.items():
        quantised = BitsAndBytesConfig(**{flag: True})
        try:
            model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantised)
        except AttributeError as error:  # bitsandbytes_frozen_devices.py
            print("cannot tell without a GPU:", error)
            raise SystemExit(2) from None
        kinds = sorted({type(module).__name__ for module in model.modules() if "Linear" in type(module).__name__})
        print(f"{flag}: expected {layer}, seen {kinds}, is_quantized: {getattr(model, 'is_quantized', None)}")
        wrong |= layer not in kinds
raise SystemExit("FAULT: nothing was quantised" if wrong else 0)
