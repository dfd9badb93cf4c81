"""quanto's float8: a row of zeros, as of a pruned channel, becomes NaN, and with it every logit.

`AbsmaxOptimizer` divides the row's largest magnitude by the largest code and sets no floor, `quantize_symmetric`
divides zeros by that zero. In int8 NaN turns into the code 0 on a CPU. Seen with optimum-quanto 0.2.7.
"""

from importlib.metadata import version

import torch
from optimum.quanto import freeze, qfloat8, qint8, quantize

print("torch", torch.__version__, "optimum-quanto", version("optimum-quanto"))
finite = {}
for name, kind in (("int8", qint8), ("float8", qfloat8)):
    model = torch.nn.Sequential(torch.nn.Linear(64, 64, bias=False))
    model[0].weight.data[3] = 0
    quantize(model, weights=kind)
    freeze(model)
    with torch.no_grad():
        output = model(torch.ones(1, 64))
    finite[name] = bool(output.isfinite().all())
    print(f"{name}: of a weight with a row of zeros expected 0 in column 3, seen {float(output[0, 3]):g}")
raise SystemExit(not finite["float8"])
