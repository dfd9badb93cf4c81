"""quanto in int8 and bfloat16 on a CPU: where a weight's columns are no multiple of 16 the process dies.

`qbytes_mm_impl_cpu` takes torch's `_weight_int8pack_mm` for every multiple of 4. That reads beyond the end of its
weight from sizes such as 72 and 168 on. Seen with optimum-quanto 0.2.7, torch 2.13.0 and a processor with AVX512.
"""

import subprocess
import sys
from importlib.metadata import version

import torch

PROGRAM = """
import torch
from optimum.quanto import freeze, qint8, quantize
model = torch.nn.Sequential(torch.nn.Linear({columns}, 80, bias=False, dtype=torch.bfloat16))
quantize(model, weights=qint8)
freeze(model)
with torch.no_grad():
    print(tuple(model(torch.ones({rows}, {columns}, dtype=torch.bfloat16)).shape))
"""

print("torch", torch.__version__, "optimum-quanto", version("optimum-quanto"))
died = 0
for columns in (160, 168, 72):
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(columns=columns, rows=144)], capture_output=True, text=True, check=False
    )
    ended = answer.stdout.strip() if answer.returncode == 0 else f"the process ended with status {answer.returncode}"
    print(f"{columns} columns: expected (144, 80), seen {ended}")
    died += answer.returncode < 0
raise SystemExit(died > 0)
