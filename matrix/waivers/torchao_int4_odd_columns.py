"""torchao int4: where no row is a multiple of the group a model loads, says that it is quantised, and nothing of it is.

`_int4_weight_only_quantize_tensor` hands such a weight back as it is, with a word at the level of information. The int4
of `IntxWeightOnlyConfig` raises instead. Seen with transformers 5.23.0 and 5.24.0, torchao 0.18.0.
"""

import tempfile

import torch
import transformers
from torchao.quantization import Int4WeightOnlyConfig

SIZES = {"vocab_size": 256, "hidden_size": 80, "intermediate_size": 168, "num_hidden_layers": 1}

print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder:
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_attention_heads=5)).save_pretrained(folder)
    quantised = transformers.TorchAoConfig(Int4WeightOnlyConfig(group_size=32))
    try:
        model = transformers.LlamaForCausalLM.from_pretrained(folder, quantization_config=quantised)
    except (RuntimeError, ValueError) as error:
        print(f"refused: {error}")
        raise SystemExit(0) from None
kinds = {type(weight.data).__name__ for name, weight in model.named_parameters() if "proj" in name}
quantised_as = model.config.quantization_config.quant_method
print(f"expected a refusal or an Int4Tensor, is {', '.join(kinds)}; the config says {quantised_as}")
raise SystemExit(kinds == {"Tensor"})
