"""A Mamba that is loaded in 16 bits keeps A_log in float32: it is made of a range in float32, and stays so.

Seen with transformers 4.48.3 to 5.2.0; not since 5.3.0, where it is made empty.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 1}

print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder:
    transformers.MambaForCausalLM(transformers.MambaConfig(**SMALL)).save_pretrained(folder)
    model = transformers.MambaForCausalLM.from_pretrained(folder, torch_dtype=torch.bfloat16)
other = [name for name, parameter in model.named_parameters() if parameter.dtype is not torch.bfloat16]
print(f"not in bfloat16: expected none, seen {other or 'none'}")
raise SystemExit(bool(other))
