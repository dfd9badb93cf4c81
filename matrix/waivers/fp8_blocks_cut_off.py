"""Finegrained FP8 is dequantised by blocks of another size where 128 does not divide a side.

`Fp8Dequantize` takes the side of a block for the side of the matrix divided by the number of scales: of 168 rows under
two scales the first 84 get the first, and not 128. Where that leaves a rest, as with 320 rows under three, the
checkpoint is not loaded at all. DeepSeek-V3 has such a matrix, of 576 rows. Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

print("torch", torch.__version__, "transformers", transformers.__version__)
wrong = False
for rows in (128, 256, 168, 320, 576):
    scales = torch.arange(1.0, -(-rows // 128) + 1)[:, None]
    expected = scales.repeat_interleave(128, 0)[:rows].expand(rows, 128)
    try:
        found = Fp8Dequantize(None)._dequantize_one(torch.ones(rows, 128).to(torch.float8_e4m3fn), scales)
        off = int((found != expected).all(1).sum())
        print(f"{rows} rows: expected the scale of their block, {off} have that of another")
        wrong |= off > 0
    except ValueError as error:
        print(f"{rows} rows: expected the scale of their block, ValueError: {error}")
        wrong = True
raise SystemExit(wrong)
