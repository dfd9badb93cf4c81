"""Falcon quantised by torchao loads, and no forward pass runs.

`FalconLinear.forward` is `input @ self.weight.T`, and Int8Tensor implements no permute. Seen with transformers 5.23.0
and 5.24.0, torchao 0.18.0.
"""

import tempfile

import torch
import transformers
from torchao.quantization import Int8WeightOnlyConfig

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
try:
    quantised = transformers.TorchAoConfig(Int8WeightOnlyConfig())
except ImportError as error:
    print("this release does not know this torchao:", error)
    raise SystemExit(0) from None
sizes = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
with tempfile.TemporaryDirectory() as folder:
    transformers.FalconForCausalLM(transformers.FalconConfig(**sizes)).save_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantised)
print("expected logits, got ", end="")
try:
    print(f"logits of shape {tuple(model(torch.arange(8)[None]).logits.shape)}")
except NotImplementedError as error:
    print(f"NotImplementedError: {str(error).partition(',')[0]}")
    raise SystemExit(1) from None
