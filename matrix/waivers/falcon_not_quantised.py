"""Falcon: bitsandbytes quantisation is asked for, reported as done, and silently left out.

replace_with_bnb_linear converts a module only if `type(module) is nn.Linear`; Falcon's layers are FalconLinear,
a subclass. transformers 4.48.3 converted them (isinstance). The model keeps its 16-bit weights and size.
"""

import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, FalconConfig, FalconForCausalLM


def main():
    """Load a small Falcon in 8 and 4 bits and print what its linear layers are."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    config = FalconConfig(vocab_size=256, hidden_size=64, num_hidden_layers=2, num_attention_heads=4)
    with tempfile.TemporaryDirectory() as folder:
        FalconForCausalLM(config).save_pretrained(folder)
        for arguments in ({"load_in_8bit": True}, {"load_in_4bit": True}):
            model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=BitsAndBytesConfig(**arguments))
            kinds = sorted({type(module).__name__ for module in model.modules() if "Linear" in type(module).__name__})
            print(arguments, "->", kinds, "is_quantized:", getattr(model, "is_quantized", None))
            print("FAULT: nothing was quantised" if not {"Linear8bitLt", "Linear4bit"} & set(kinds) else "quantised")


if __name__ == "__main__":
    main()
