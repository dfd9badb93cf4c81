"""The examples of the properties are the same in each process, whatever it has imported; who has none needs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import ROOT
from tests.sessions import environment_of_a_session

REGISTER = "from conformance.hypothesis_profiles import register; register()"
PROGRAM = """
from hypothesis import given, settings
import {module}
{before}
seen = []

@settings(derandomize=True, database=None, max_examples=100)
@given(number=__import__("hypothesis").strategies.integers(0, 10**9))
def example(number):
    seen.append(number)

example()
print(seen)
"""


def examples(folder: Path, module: str, before: str) -> str:
    program = PROGRAM.format(module=module, before=before)
    path = f"{ROOT}:{folder}"
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, env={"PYTHONPATH": path}, cwd=folder, capture_output=True, text=True, check=True)
    return answer.stdout


def test_what_is_imported_changes_no_example(tmp_path: Path) -> None:
    """Without the profiles it does, which is what they are for."""
    for name, first in (("one", 1_234_567), ("other", 7_654_321)):
        numbers = range(first, first + 1000)
        (tmp_path / f"{name}.py").write_text(f"NUMBERS = [{', '.join(map(str, numbers))}]\n", encoding="utf-8")
    assert examples(tmp_path, "one", "") != examples(tmp_path, "other", "")
    assert examples(tmp_path, "one", REGISTER) == examples(tmp_path, "other", REGISTER)


@pytest.mark.parametrize(
    ("file", "more", "imported"),
    [("test_cells.py", "", False), ("test_sdpa_kernels.py", "", True), ("test_cells.py", "--hypothesis-seed=1", True)],
)
def test_a_run_without_properties_does_not_wait_for_hypothesis(
    file: str, more: str, imported: bool, tmp_path: Path
) -> None:
    """Whose plugin would import it at the end of any run."""
    program = "import pytest, sys; pytest.main(sys.argv[1:]); print('hypothesis' in sys.modules)"
    command = [sys.executable, "-c", program, f"conformance/{file}", f"--report-dir={tmp_path}"]
    command += ["-p", "tests.saboteur", "-k", "bert-float32-eager-prefill"]
    environment = environment_of_a_session() | {"PYTEST_ADDOPTS": more}
    answer = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == str(imported)
