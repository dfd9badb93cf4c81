"""scaled_dot_product_attention on an H100: calls that go wrong, each in a process of its own, since some end it.

Every call is documented; the math kernel takes them all. Seen with torch 2.11.0 for CUDA 13 and cuDNN 9.19.
"""

import subprocess
import sys

PREAMBLE = """
import torch, warnings
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as sdpa
warnings.simplefilter("ignore")
torch.manual_seed(0)

def draw(*shape, dtype=torch.float16):
    return torch.randn(shape, device="cuda", dtype=dtype, requires_grad=True)

def run(backend, *tensors, **arguments):
    with sdpa_kernel([getattr(SDPBackend, backend)] if backend else list(SDPBackend.__members__.values())[1:5]):
        output = sdpa(*tensors, **arguments)
    output.sum().backward()
    torch.cuda.synchronize()
    finite = [bool(tensor.grad.isfinite().all()) for tensor in tensors[:3]]
    print("output", output.flatten()[:2].tolist(), "gradients finite", finite)
"""
CASES = {
    "cuDNN: a query that may attend to nothing gets no zeros": """
run("CUDNN_ATTENTION", draw(1, 1, 1, 8), draw(1, 1, 2, 8), draw(1, 1, 2, 8),
    attn_mask=torch.zeros(1, 2, dtype=torch.bool, device="cuda"))""",
    "no batch elements, head size 136, a mask: backward ends the process": """
run("", draw(0, 1, 1, 136), draw(0, 1, 1, 136), draw(0, 1, 1, 136),
    attn_mask=torch.ones(0, 1, 1, 1, dtype=torch.bool, device="cuda"))""",
    "flash: scale 0 gives NaN": """
run("FLASH_ATTENTION", draw(1, 1, 1, 8), draw(1, 1, 1, 8), draw(1, 1, 1, 8), scale=0.0)""",
    "cuDNN: scale 0 gives NaN gradients": """
run("CUDNN_ATTENTION", draw(1, 1, 1, 8), draw(1, 1, 2, 8), draw(1, 1, 2, 8), scale=0.0)""",
    "flash: keys that begin off any alignment end the context": """
keys = torch.randn(32 * 64 + 1, device="cuda", dtype=torch.float16)[1:].view(1, 1, 32, 64).requires_grad_()
keys.retain_grad()
run("FLASH_ATTENTION", draw(1, 1, 2, 64), keys, draw(1, 1, 32, 64))""",
    "mem-efficient: a mask that broadcasts over the keys is refused in words of its own": """
run("EFFICIENT_ATTENTION", draw(1, 1, 1, 8), draw(1, 1, 2, 8), draw(1, 1, 2, 8),
    attn_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device="cuda"))""",
    "cuDNN: a mask that broadcasts over the keys ends the context": """
run("CUDNN_ATTENTION", draw(2, 1, 64, 136, dtype=torch.bfloat16), draw(2, 1, 63, 136, dtype=torch.bfloat16),
    draw(2, 1, 63, 136, dtype=torch.bfloat16), attn_mask=torch.ones(64, 1, dtype=torch.bool, device="cuda"))""",
    "cuDNN: a mask of one dimension": """
run("CUDNN_ATTENTION", draw(1, 1, 1, 8), draw(1, 1, 1, 8), draw(1, 1, 1, 8),
    attn_mask=torch.ones(1, dtype=torch.bool, device="cuda"))""",
    "mem-efficient: a mask beside is_causal is accepted": """
run("EFFICIENT_ATTENTION", draw(1, 1, 1, 8), draw(1, 1, 1, 8), draw(1, 1, 1, 8), is_causal=True,
    attn_mask=torch.ones(1, 1, dtype=torch.bool, device="cuda"))""",
}


def main():
    """Run each case and print the last lines that it leaves."""
    for name, code in CASES.items():
        answer = subprocess.run([sys.executable, "-c", PREAMBLE + code], capture_output=True, text=True, check=False)
        said = (answer.stdout.strip().splitlines() or [""])[-1]
        errors = [line for line in answer.stderr.splitlines() if "Error" in line]
        ended = f"exit {answer.returncode}: {errors[-1][:150] if errors else ''}" if answer.returncode else ""
        print(f"{name}\n    {said} {ended}")


if __name__ == "__main__":
    main()
