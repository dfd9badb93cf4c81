"""torchao's float8 with dynamic activations leaves a weight of 84 by 128 as it is, without a word.

`_float8_dynamic_activation_float8_weight_quantize_tensor` returns a weight of which a side is no multiple of 16, beside
a comment that it should raise. A weight of 96 by 128 shows what is right. Needs a GPU of 8.9 or later.
"""

import torch
from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, quantize_
from torchao.quantization.granularity import PerRow

print("torch", torch.__version__, torch.cuda.get_device_name())
kinds = []
for rows in (96, 84):
    model = torch.nn.Sequential(torch.nn.Linear(128, rows, bias=False)).to("cuda", torch.bfloat16)
    quantize_(model, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()))
    kinds.append(type(model[0].weight).__name__)
    print(f"{rows} rows: expected a Float8Tensor or an error, the weight is a {kinds[-1]}")
raise SystemExit(kinds[1] == "Parameter")
