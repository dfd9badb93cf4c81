"""Rows in a session: their outcomes, their waivers, and what is left of one that ends its process."""

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.plugin.rows import row_key
from matrix.rows import Family, RowOutcome
from tests.builders import ROOT
from tests.sessions import Session, run_pytest

PROPERTIES = "conformance/test_sdpa_kernels.py"
KERNELS = "a_mask_of_one_dimension_broadcasts and (flash or math or cudnn)"
FLASH, MATH = (f"property:a_mask_of_one_dimension_broadcasts[{kernel}]" for kernel in ("flash", "math"))


def outcomes(session: Session) -> dict[str, RowOutcome]:
    return {row.key: row.outcome for row in session.report.rows}


@pytest.mark.parametrize(
    ("nodeid", "key"),
    [
        ("conformance/test_regressions.py::test_regression[bert_nan]", "regression:bert_nan"),
        ("conformance/test_sdpa_kernels.py::test_forward_is_right[flash]", "property:forward_is_right[flash]"),
        ("conformance/test_cells.py::test_cell[llama-float32-eager-prefill]", None),
        ("tests/test_regressions.py::test_regression[bert_nan]", None),
    ],
    ids=["regression", "property", "cell", "elsewhere"],
)
def test_a_row_is_known_by_its_test(nodeid: str, key: str | None) -> None:
    assert row_key(nodeid) == key


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_a_test_finds_is_the_outcome_of_its_row(tmp_path: Path, workers: str) -> None:
    session = run_pytest(tmp_path / "out", "-n", workers, "-k", KERNELS, tests=PROPERTIES, sabotage={MATH: "err"})
    assert session.status == 1
    found = {row.key: row for row in session.report.rows}
    assert found[MATH].outcome is RowOutcome.VIOLATED
    assert (found[MATH].reason, found[MATH].fails) == ("sabotaged", True)
    assert "MATH" not in found[MATH].reason
    # A known fault of torch on a CPU, and a kernel that no CPU has.
    assert found[FLASH].waived is not None
    assert not found[FLASH].fails
    assert outcomes(session)[FLASH.replace("flash", "cudnn")] is RowOutcome.UNAVAILABLE
    assert (
        found[FLASH].about
        == "A mask need only be broadcastable to (batch, heads, queries, keys): one number per key is."
    )


def test_a_run_in_which_every_row_holds_or_is_known_is_a_success(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", "-n", "0", "-k", KERNELS, tests=PROPERTIES)
    assert session.status == 0, session.output
    assert outcomes(session)[MATH] is RowOutcome.HOLDS


def test_a_row_that_ends_its_process_has_a_record_and_the_next_is_not_blamed(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", "-n", "1", "-k", KERNELS, tests=PROPERTIES, sabotage={MATH: "crash"})
    assert session.status == 1
    assert len(outcomes(session)) == 3
    (row,) = session.report.failing_rows
    assert (row.key, row.reason, row.family) == (MATH, "the process died", Family.PROPERTY)


def test_whoever_names_cells_gets_no_rows(tmp_path: Path) -> None:
    cell = "llama-float32-eager-prefill"
    session = run_pytest(tmp_path / "out", "-n", "0", f"--cell={cell}", tests="conformance")
    assert session.verdicts == {cell: "supported"}
    assert "1 passed" in session.output  # and no test of the axes
    assert session.report.rows == []


@pytest.mark.parametrize(
    ("arguments", "families"),
    [
        ((), {"regression", "property", "eager"}),
        (("conformance",), {"regression", "property", "eager"}),
        (("--profile=guide",), {"guide", "claim"}),
        (("-m", "benchmark"), {"claim"}),
        (("-m", "not benchmark"), {"regression", "property", "eager"}),
        (("conformance/test_guide.py",), {"guide"}),
        (("conformance/test_cells.py", "conformance/test_guide.py"), {"guide"}),
        (("conformance/test_claims.py", "--profile=smoke"), {"claim"}),
        (("conformance/test_eager.py", "--cells=architecture=llama"), {"eager"}),
        (("--cells=architecture=llama",), set()),
    ],
    # The order of a set differs from worker to worker.
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_profile_has_its_families_of_rows_and_a_file_its_own(arguments: tuple[str, ...], families: set[str]) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    keys = [row_key(line) for line in answer.stdout.splitlines() if "::" in line]
    assert {key.partition(":")[0] for key in keys if key} == families
