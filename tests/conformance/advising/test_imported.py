"""What subjects are forked from asks for no GPU, whatever its libraries want to know of one."""

import subprocess
import sys

import pytest

PRETENDED = """
import sys, torch
from conformance.plugin import forkserver
from matrix.stack import Gpu

def refuse(*_):
    sys.exit("a GPU was asked for")

forkserver.visible_gpus = lambda: ((Gpu("NVIDIA H100", 81559, "9.0"),), "")
torch.backends.cuda.is_built = torch.cuda.is_available = lambda: True
torch.cuda.device_count, torch.version.cuda = lambda: 1, "13.0"
torch.cuda._lazy_init = refuse
import {module}
"""


@pytest.mark.parametrize(
    ("module", "said"), [("conformance.advising.imported", ""), ("conformance.bench", "a GPU was asked for")]
)
def test_no_gpu_is_asked_for(module: str, said: str) -> None:
    pytest.importorskip("torchao")
    answer = subprocess.run([sys.executable, "-c", PRETENDED.format(module=module)], capture_output=True, text=True)
    assert (said in answer.stderr, bool(answer.returncode)) == (True, bool(said)), answer.stderr
