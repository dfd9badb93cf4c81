"""Shards of a plan, run: each is one part of it, says which, and knows the whole."""

from pathlib import Path

import pytest

from tests.sessions import Session, run_pytest

CELLS = [
    "llama-float32-eager-prefill",
    "llama-float32-sdpa-prefill",
    "gpt2-float32-eager-prefill",
    "gpt2-float32-sdpa-prefill",
    "opt-float32-eager-prefill",
]
CHOSEN = [f"--cell={cell}" for cell in CELLS]
ROWS = "conformance/test_cells.py conformance/test_guide.py"


def shard(folder: Path, which: str, *arguments: str, workers: int = 0, tests: str = ROWS) -> Session:
    out = folder / f"{which.replace('/', '-of-')}-{workers}"
    return run_pytest(out, f"--shard={which}", *arguments, "-n", str(workers), tests=tests)


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_are_disjoint_and_together_whole_in_rows_too(tmp_path: Path, workers: int) -> None:
    chosen = [*CHOSEN, "-k", "test_cell or requires"]
    found = [shard(tmp_path, f"{number}/3", *chosen, workers=workers).report.run for number in (1, 2, 3)]
    assert all(run.shard is not None and run.shard.planned == CELLS for run in found)
    assert {tuple(run.shard.planned_rows) for run in found if run.shard} != {()}
    assert sorted(cell for run in found for cell in run.planned) == sorted(CELLS)
    rows = [row for run in found for row in run.planned_rows]
    assert sorted(rows) == sorted(found[0].shard.planned_rows if found[0].shard else [])
    assert [str(run.shard) for run in found] == ["1/3", "2/3", "3/3"]
    assert all(run.planned or run.planned_rows for run in found)


def test_workers_do_not_change_what_is_in_a_shard(tmp_path: Path) -> None:
    cells = "conformance/test_cells.py"
    alone, two = (shard(tmp_path, "1/2", *CHOSEN, workers=workers, tests=cells) for workers in (0, 2))
    assert "shard 1/2" in alone.output
    assert (alone.report.run.planned, alone.report.run.shard) == (two.report.run.planned, two.report.run.shard)


@pytest.mark.parametrize("workers", [0, 1])
def test_more_shards_than_tests_are_refused_in_one_line(tmp_path: Path, workers: int) -> None:
    session = shard(tmp_path, "1/6", *CHOSEN, workers=workers, tests="conformance/test_cells.py")
    assert session.status == 4
    assert "ERROR: --shard 1/6: there are fewer than 6 tests; ask for fewer shards" in session.output
    assert "Traceback" not in session.output


def test_a_shard_that_cannot_be_is_refused_before_anything_runs(tmp_path: Path) -> None:
    session = shard(tmp_path, "4/3", *CHOSEN)
    assert session.status == 4
    assert "ERROR: --shard 4/3: I must be from 1 to N" in session.output


def test_a_waiver_whose_fault_is_in_another_shard_is_not_called_idle(tmp_path: Path) -> None:
    waiver = tmp_path / "waivers.toml"
    waiver.write_text(
        '[[waiver]]\ncells = "architecture=llama,gpt2,opt"\nverdict = "inaccurate"\n'
        'reason = "a fault"\nurl = "https://example.org/1"\n'
    )
    statuses = {}
    for which in ("1/1", "1/3", "2/3", "3/3"):
        told = [*CHOSEN, f"--waivers={waiver}"]
        statuses[which] = shard(tmp_path, which, *told, tests="conformance/test_cells.py")
    assert {which: session.status for which, session in statuses.items()} == dict.fromkeys(statuses, 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_only_what_a_file_names_runs(tmp_path: Path, workers: int) -> None:
    named = tmp_path / "names"
    named.write_text(f"{CELLS[3]}\n{CELLS[0]}\nguide:G12-requires_bitsandbytes-either\n")
    out = tmp_path / "out"
    session = run_pytest(out, *CHOSEN, f"--only={named}", "-n", str(workers), tests=ROWS)
    assert session.report.run.planned == [CELLS[0], CELLS[3]]
    assert session.report.run.planned_rows == ["guide:G12-requires_bitsandbytes-either"]


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), (" \n", "names no cell and no row")])
def test_a_file_that_names_nothing_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "names").write_text(content)
    session = run_pytest(tmp_path / "out", *CHOSEN, f"--only={tmp_path / 'names'}", "-n", "0")
    assert session.status == 4
    assert said in session.output
