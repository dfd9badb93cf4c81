"""What a pytest would run is what it says; what one writes is followed to its end."""

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.children import following, planned
from matrix.architectures import load_architectures
from matrix.errors import UsageError
from matrix.plan import make_plan
from matrix.selection import parse_selection

ARCHITECTURES = load_architectures()
SELECTION = "architecture=gpt2,llama attention=eager dtype=float32 workload=prefill"


def test_the_plan_is_what_pytest_would_run_in_its_order() -> None:
    cells, rows = planned(
        ["conformance/test_cells.py", "conformance/test_guide.py", "--profile=smoke", f"--cells={SELECTION}"]
    )
    assert cells == [cell.id for cell in make_plan("smoke", ARCHITECTURES, parse_selection(SELECTION, ARCHITECTURES))]
    assert rows[0].startswith("guide:G")
    few = ["--cells=architecture=gpt2 attention=eager dtype=float32 workload=prefill padding=left"]
    assert planned([*few, "-q"]) == planned([*few, "-vv"])
    with pytest.raises(UsageError, match="--profile 'mood': allowed are "):
        planned(["--profile=mood"])


def test_what_a_process_writes_comes_in_whole_lines_until_it_has_ended(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'said')!r}, 'w').write('one\\ntwo\\nhalf')"
    process = subprocess.Popen([sys.executable, "-c", code])
    lines = "\n".join(following(tmp_path / "said", process)).split("\n")
    assert (lines, process.returncode) == (["one", "two"], 0)
