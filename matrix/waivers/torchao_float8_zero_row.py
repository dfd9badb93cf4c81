"""torchao's float8: a row of zeros, as of a pruned channel, becomes NaN, and with it every logit.

`_choose_scale_float8` divides the row's largest magnitude by 448 and sets no floor; `_quantize_affine_float8` divides
zeros by that zero. The int8 and int4 formats have a floor. Seen with torchao 0.18.0.
"""

import torch
import torchao
from torchao import quantization

print("torch", torch.__version__, "torchao", torchao.__version__)
finite = {}
for name in ("Int8WeightOnlyConfig", "Float8WeightOnlyConfig"):
    layer = torch.nn.Linear(64, 64, bias=False)
    layer.weight.data[3] = 0
    quantization.quantize_(layer, getattr(quantization, name)())
    with torch.no_grad():
        output = layer(torch.ones(1, 64))
    finite[name] = bool(output.isfinite().all())
    print(f"{name}: of a weight with a row of zeros expected 0 in column 3, seen {float(output[0, 3]):g}")
raise SystemExit(not finite["Float8WeightOnlyConfig"])
