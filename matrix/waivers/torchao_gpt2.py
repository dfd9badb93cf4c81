"""GPT-2 quantised by torchao is not quantised, and says that it is.

Only `nn.Linear` is looked for, and GPT-2 is made of `Conv1D`. Seen with transformers 5.23.0 and 5.24.0, torchao 0.18.0.
"""

import tempfile

import torch
import transformers
from torchao.quantization import Int8WeightOnlyConfig

sizes = {"vocab_size": 256, "n_embd": 64, "n_layer": 2, "n_head": 4}
with tempfile.TemporaryDirectory() as folder:
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).save_pretrained(folder)
    quantised = transformers.TorchAoConfig(Int8WeightOnlyConfig())
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantised)
count = sum("Int8Tensor" in type(parameter).__name__ for parameter in model.parameters())
print("torch", torch.__version__, "says that it is quantised:", hasattr(model.config, "quantization_config"))
print(f"expected 8 quantised weights, got {count}")
raise SystemExit(count == 0)
