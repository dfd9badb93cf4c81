"""Linear layers with a bias in quanto's float8 on a GPU: the bias is lost.

Where both sides of a weight suit Marlin's kernel (64 and 128), `MarlinF8QBytesLinearFunction.forward` multiplies and
adds nothing. Float32, for which there is no such kernel, shows what is right. Needs a GPU of 8.0 or later, and nvcc.
"""

import torch
from optimum.quanto import freeze, qfloat8, quantize

torch.manual_seed(0)
print("torch", torch.__version__, torch.cuda.get_device_name())
wrong = False
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    model = torch.nn.Sequential(torch.nn.Linear(128, 256)).to("cuda", dtype)
    bias = model[0].bias.detach().clone()
    inputs = torch.randn(4, 128, device="cuda", dtype=dtype)
    with torch.no_grad():
        quantize(model, weights=qfloat8)
        freeze(model)
        expected = torch.nn.functional.linear(inputs, model[0].weight.dequantize().to(dtype), bias)
        off = expected - model(inputs)
    lost = bool((off - bias).abs().max() < 0.1 * bias.abs().max())
    print(f"{dtype}: expected x W + b, off by {float(off.abs().max()):.3g}{', which is the bias' if lost else ''}")
    wrong |= lost
raise SystemExit(wrong)
