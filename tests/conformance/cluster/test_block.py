"""What a node does with a block: a run of pytest whose lines are handed on as they come."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.cluster.block import Block, environment_of, measured
from conformance.plugin.workers import cpu_count
from matrix.errors import UsageError

CELLS = ("llama-float32-eager-prefill", "llama-float32-sdpa-prefill", "gpt2-float32-eager-prefill")
ARGUMENTS = ("-p", "tests.saboteur", "conformance/test_cells.py", "--profile=full", "--cells=attention=eager,sdpa")


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFORMANCE_PRELOAD", "")
    monkeypatch.setenv("SABOTAGE", json.dumps({CELLS[1]: "crash"}))


def kinds(lines: Iterator[str]) -> list[str]:
    return [json.loads(line)["kind"] for text in lines for line in text.split("\n")]


def test_exactly_its_cells_run_and_a_crash_costs_one(tmp_path: Path) -> None:
    lines = [json.loads(line) for text in measured(Block(CELLS, ARGUMENTS, 1)) for line in text.split("\n")]
    verdicts = {line["cell"]: line["verdict"] for line in lines if line["kind"] == "record"}
    assert verdicts == {CELLS[0]: "supported", CELLS[1]: "crashed", CELLS[2]: "supported"}
    assert (lines[0]["kind"], lines[-1]["kind"]) == ("run", "end")
    assert sorted(lines[0]["planned"]) == sorted(CELLS)


def test_what_pytest_says_when_it_does_not_run_is_one_line() -> None:
    with pytest.raises(UsageError) as refused:
        kinds(measured(Block(CELLS, (*ARGUMENTS, "--require=mood"), 1)))
    assert str(refused.value).startswith("pytest ended with 4: ERROR: --require 'mood': allowed are ")


def test_a_block_uses_its_share_of_the_cores_and_is_nobodys_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    found = environment_of({"PYTEST_XDIST_WORKER": "gw0", "PATH": "p"}, 3)
    assert found == {"PATH": "p", "PYTHON_CPU_COUNT": "3"}
    monkeypatch.setenv("PYTHON_CPU_COUNT", "3")
    assert cpu_count() == 3
    monkeypatch.setenv("PYTHON_CPU_COUNT", "default")
    assert cpu_count() >= 1
