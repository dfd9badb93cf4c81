"""hqq on transformers 5: documented, and refused once the weights are read.

`HqqHfQuantizer` has no `get_quantize_ops`, whose default raises. Seen with transformers 5.23.0 and 5.24.0, hqq 0.2.8.
"""

import tempfile

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}

print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder:
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_attention_heads=4)).save_pretrained(folder)
    try:
        quantised = transformers.HqqConfig(nbits=4, group_size=64)
    except ImportError as error:
        print("cannot tell without hqq:", error)
        raise SystemExit(2) from None
    try:
        transformers.LlamaForCausalLM.from_pretrained(folder, quantization_config=quantised)
    except NotImplementedError as error:
        print("expected a model, seen NotImplementedError:", error)
        raise SystemExit(1) from None
print("loaded")
