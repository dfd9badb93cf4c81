"""Convolutions of bfloat16 on a CPU with AVX512-BF16: wrong where one output column is all there is, channels last.

oneDNN's brg_conv_fwd with an even kernel and few channels; SegFormer's sequence reductions are such convolutions.
Not transformers' doing, nor attention's: eager is as wrong as SDPA. Needs AVX512-BF16 to show.
"""

import torch

print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
worst = 0.0
for channels, size in ((16, 8), (16, 4), (16, 7), (32, 8)):
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(channels, channels, size, stride=size).bfloat16()
    for layout in (torch.contiguous_format, torch.channels_last):
        given = torch.randn(4, channels, size, size).bfloat16().contiguous(memory_format=layout)
        with torch.no_grad():
            found = convolution(given).double()
            truth = torch.nn.functional.conv2d(
                given.double(), convolution.weight.double(), convolution.bias.double(), stride=size
            )
        off = float((found - truth).abs().mean() / truth.abs().mean())
        worst = max(worst, off)
        print(f"{channels} channels, kernel and stride {size}, {layout}: off by {off:.2g} of what it should be")
if worst > 0.02:
    raise SystemExit(f"FAULT: off by {worst:.2g} of what it should be")
print("OK")
