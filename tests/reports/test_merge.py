"""Shards joined: equal to the whole, or refused or found lacking by name."""

import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from matrix.architectures import Family as Modality
from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.rows import Family, RowOutcome
from matrix.shard import divide
from matrix.stack import Device
from matrix.verdict import Verdict
from matrix.waiver import load_waivers
from reports.__main__ import app
from reports.document import (
    ArchitectureFacts,
    GuideEntry,
    Process,
    Record,
    Report,
    RowRecord,
    Run,
    Sharded,
    make_report,
)
from reports.keep import kept_name
from reports.merge import Part, architectures_of, merge, read_part
from reports.reading import read_report
from reports.records import RecordWriter
from reports.write import write_json
from tests.builders import ARCHITECTURES, H100, PROPERTY, cuda_stack, ended, make_run, make_stack, record_of
from tests.sessions import run_pytest

CELLS = [f"{name}-float32-{how}" for name in ("llama", "gpt2", "opt") for how in ("eager-prefill", "sdpa-prefill")]
ROWS = ["property:right", "property:finite"]


def verdict_of(cell: str) -> Verdict:
    return Verdict.SUBSTITUTED if cell.startswith("gpt2") else Verdict.SUPPORTED


def row_of(key: str, **changes: Any) -> RowRecord:
    given: dict[str, Any] = {"name": key.partition(":")[2], "outcome": RowOutcome.HOLDS, "began": 1.0} | changes
    return RowRecord(family=Family.PROPERTY, **given)


def shard(number: int, of: int = 3, *, without: str = "", problems: tuple[str, ...] = (), **changes: Any) -> Part:
    """The report of a shard whose cells ended as ever, but for one that is missing."""
    of_cells, of_rows = divide([parse_cell(cell) for cell in CELLS], ROWS, of)
    mine = [cell for cell, one in zip(CELLS, of_cells, strict=True) if one == number]
    rows = [row for row, one in zip(ROWS, of_rows, strict=True) if one == number]
    sharded = Sharded(number=number, of=of, planned=CELLS, planned_rows=ROWS)
    verdicts: dict[str, Verdict] = changes.pop("verdicts", {})
    run = make_run(*mine, planned_rows=rows, **{"shard": sharded} | changes)
    records = [
        record_of(cell, verdicts.get(cell, verdict_of(cell)), began=2.0, worker="gw0")
        for cell in mine
        if cell != without
    ]
    processes = [Process(worker="gw0", began=1.0, died=3.0)]
    kept = [row_of(row, worker="gw0") for row in rows if row != without]
    report = make_report(run, records, rows=kept, processes=processes, end=ended(*problems))
    return Part(Path(f"shard-{number}-of-{of}"), report, sharded)


def whole() -> Report:
    records = [record_of(cell, verdict_of(cell), began=2.0) for cell in CELLS]
    return make_report(make_run(*CELLS, planned_rows=ROWS), records, rows=[row_of(row) for row in ROWS], end=ended())


def what(records: list[Record] | list[RowRecord]) -> list[dict[str, Any]]:
    """All that does not say who found it and when."""
    return [one.model_dump(exclude={"worker", "began", "took", "seconds"}) for one in records]


def refused(*parts: Part) -> str:
    with pytest.raises(UsageError) as error:
        merge(parts)
    return str(error.value)


@PROPERTY
@given(shards=st.integers(1, len(CELLS) + len(ROWS)), data=st.data())
def test_all_shards_are_the_whole_in_whatever_order(shards: int, data: st.DataObject) -> None:
    numbers = data.draw(st.permutations(range(1, shards + 1)))
    merged = merge([shard(number, shards) for number in numbers])
    assert what(merged.records) == what(whole().records)
    assert what(merged.rows) == what(whole().rows)
    assert (merged.run.planned, merged.run.planned_rows) == (CELLS, ROWS)
    assert (merged.counts, merged.problems, merged.run.shard) == (whole().counts, [], None)


def test_of_any_shards_but_all_it_says_which_is_missing_and_which_tests() -> None:
    one, two, three = shard(1), shard(2), shard(3)
    merged = merge([one, three])
    lacking = [*two.report.run.planned, *two.report.run.planned_rows]
    assert merged.problems == [
        f"the run was cut off: missing: shard 2/3, {len(lacking)} of 8 tests: {', '.join(lacking)}"
    ]
    missing = [record.cell for record in merged.records if record.verdict is Verdict.MISSING]
    assert missing == two.report.run.planned
    assert "missing: shards 1/3, 3/3, " in merge([two]).problems[0]


def test_a_shard_that_was_cut_off_is_named_with_what_it_lacks() -> None:
    first = shard(1).report.run.planned[0]
    told = "the run was cut off: 1 of 3 tests have no record"
    merged = merge([shard(1, without=first, problems=(told,)), shard(2), shard(3)])
    assert merged.problems[0].startswith("the run was cut off: shard 1/3 lacks 1 of its ")
    assert merged.cut_off
    assert merged.problems[0].endswith(f"tests: {first}")
    assert merged.problems[1] == f"shard 1/3: {told}"


def test_what_could_not_be_read_of_a_shard_stays_as_short_as_a_page_can_bear(tmp_path: Path) -> None:
    part = shard(1)
    part.report.unreadable.append("x" * 1_000)
    report = merge([part, shard(2), shard(3)])
    write_json(report, tmp_path)
    assert read_report(tmp_path).unreadable == report.unreadable


def test_a_row_that_is_missing_is_named_too() -> None:
    part = next(part for part in map(shard, (1, 2, 3)) if part.report.run.planned_rows)
    row = part.report.run.planned_rows[0]
    parts = [shard(n, without=row if n == part.shard.number else "") for n in (1, 2, 3)]
    assert merge(parts).problems[0].endswith(f"tests: {row}")


def test_workers_and_seconds_of_different_shards_do_not_collide() -> None:
    later = shard(2)
    later.report.run.started += timedelta(seconds=10)
    merged = merge([shard(1), later, shard(3)])
    assert {process.worker for process in merged.processes} == {"1/3 gw0", "2/3 gw0", "3/3 gw0"}
    began = {record.worker: record.began for record in merged.records}
    assert began == {"1/3 gw0": 2.0, "2/3 gw0": 12.0, "3/3 gw0": 2.0}
    assert {process.worker: process.died for process in merged.processes}["2/3 gw0"] == 13.0


def test_the_same_shard_twice_is_refused() -> None:
    assert refused(shard(1), shard(2), shard(1)) == (
        "shard 1/3 twice: shard-1-of-3 and shard-1-of-3; leave one of them out"
    )


def test_shards_that_overlap_and_agree_are_joined_and_those_that_disagree_are_refused_by_name() -> None:
    assert merge([shard(1, 2), shard(2, 2), shard(1, 3)]).problems == []
    cell = shard(1, 2).report.run.planned[0]
    other = next(n for n in (1, 2, 3) if cell in shard(n).report.run.planned)
    found = refused(shard(1, 2), shard(other, verdicts={cell: Verdict.INACCURATE}))
    assert found.startswith(
        f"{cell}: {verdict_of(cell)} in shard 1/2 (shard-1-of-2), but inaccurate in shard {other}/3"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profile": "full"}, "profile: 'smoke' in shard 1/3 (shard-1-of-3), but 'full' in shard 2/3 (shard-2-of-3)"),
        ({"narrowed": "dtype=float32"}, "narrowed to: ''"),
        ({"seed": 1}, "seed: 0 in"),
        ({"commit": "abc"}, "commit of the suite: ''"),
        ({"required": ["cuda"]}, "required: 0 in"),
        ({"k_max": 9.0}, "bounds: k_max 3.0 in"),
        (
            {"stack": make_stack({"torch": "2.12.0", "peft": "1"})},
            "versions: peft not there, torch 2.13.0 in",
        ),
        ({"stack": cuda_stack()}, "device: 'cpu' in shard 1/3 (shard-1-of-3), but 'cuda' in shard 2/3"),
        (
            {"shard": Sharded(number=2, of=3, planned=CELLS[:-1], planned_rows=ROWS)},
            f"plan: 8, among them {CELLS[-1]} in shard 1/3 (shard-1-of-3), but 7 in shard 2/3",
        ),
    ],
)
def test_shards_of_different_runs_are_refused_with_what_differs_and_where(changes: Any, said: str) -> None:
    assert refused(shard(1), shard(2, **changes), shard(3)).startswith(said)


def test_shards_of_different_gpus_are_to_be_reports_of_their_own() -> None:
    two = cuda_stack(gpus=(H100, H100))
    found = refused(shard(1, stack=cuda_stack()), shard(2, stack=two))
    assert found == (
        "GPUs: '1 × NVIDIA H100' in shard 1/3 (shard-1-of-3), but '2 × NVIDIA H100' in shard 2/3 (shard-2-of-3); "
        "make a report of each, and python -m reports stacks A B -o C"
    )


def test_what_differs_among_rented_machines_is_told_and_not_refused() -> None:
    parts = [shard(1, python="3.11.7", stack=make_stack(cpu_flags=("avx512_bf16", "amx_bf16")))]
    parts += [shard(2, python="3.11.8", stack=make_stack(cpu_flags=("avx512_bf16",))), shard(3, python="3.11.7")]
    merged = merge(parts[:2])
    assert (merged.run.python, merged.run.stack.cpu_flags) == ("3.11.7, 3.11.8", ("avx512_bf16",))
    assert merge(parts).run.stack.cpu_flags == ()


def test_a_cell_that_its_plan_does_not_hold_is_foreign() -> None:
    part = shard(1)
    part.report.records.append(record_of("bert-float32-eager-prefill"))
    assert refused(part) == "shard 1/3 (shard-1-of-3) holds bert-float32-eager-prefill, which is not in its plan"


def test_the_command_is_that_of_the_whole() -> None:
    given = ["pytest", "--shard", "1/3", "-n", "2", "--seed=0"]
    assert merge([shard(1, command=given)]).run.command == ["pytest", "-n", "2", "--seed=0"]
    assert merge([shard(1, command=["pytest", "--shard=1/3"])]).run.command == ["pytest"]


def test_a_recipe_of_the_guide_has_the_cells_of_all_shards_in_their_order() -> None:
    def entry(*cells: str, **rows: str) -> list[GuideEntry]:
        return [GuideEntry(number="G1", name="one", cells=list(cells), rows=rows)]

    merged = merge([shard(1, guide=entry(CELLS[2], guide="a")), shard(2, guide=entry(CELLS[0], today="b"))])
    assert merged.run.guide == entry(CELLS[0], CELLS[2], guide="a", today="b")


def test_what_only_a_whole_run_can_tell_is_asked_once_everything_is_there(tmp_path: Path) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(
        '[[waiver]]\ncells = "architecture=llama"\nverdict = "inaccurate"\n'
        'reason = "a fault"\nurl = "https://example.org/1"\n',
        encoding="utf-8",
    )
    waivers = load_waivers(ARCHITECTURES, path)[:1]
    parts = [shard(1), shard(2), shard(3)]
    assert merge(parts, waivers, ARCHITECTURES).problems == [
        f"{path}: waiver 1: the fault is gone: 2 cells ran and none is inaccurate"
    ]
    assert not any("gone" in problem for problem in merge(parts[:2], waivers, ARCHITECTURES).problems)
    nowhere = dict.fromkeys(CELLS, Verdict.UNAVAILABLE)
    empty = merge([shard(number, verdicts=nowhere) for number in (1, 2, 3)])
    assert empty.problems == ["no cell was executed: an empty run is a failed run"]


def test_a_claim_in_whose_process_everything_died_keeps_its_record(tmp_path: Path) -> None:
    key, other = "claim:C1", "claim:C2"
    sharded = Sharded(number=1, of=1, planned=[], planned_rows=[key, other])
    run = make_run(planned_rows=[key, other], shard=sharded)
    died = RowRecord(family=Family.CLAIM, name="C1", outcome=RowOutcome.MISSING, reason="the process died")
    write_json(make_report(run, [], rows=[died], end=ended()), tmp_path)
    merged = merge([read_part(tmp_path)])
    assert [row.reason for row in merged.rows] == ["the process died", "planned, but nothing came"]
    assert merged.problems[0].endswith(f"lacks 1 of its 2 tests: {other}")


def test_waivers_of_types_that_only_the_installed_library_has_are_asked_too(tmp_path: Path) -> None:
    path, cell = tmp_path / "waivers.toml", "qwen9-float32-eager-prefill"
    path.write_text(
        '[[waiver]]\ncells = "architecture=qwen9 traits=moe"\nverdict = "inaccurate"\n'
        'reason = "a fault"\nurl = "https://example.org/1"\n',
        encoding="utf-8",
    )
    facts = ArchitectureFacts(kind="decoder", family="text decoder", traits=["moe"], model_type="qwen9")
    sharded = Sharded(number=1, of=1, planned=[cell])
    run = make_run(cell, profile="zoo", shard=sharded, architectures={"qwen9": facts})
    part = Part(tmp_path, make_report(run, [record_of(cell)], end=ended()), sharded)
    known = architectures_of([part], ARCHITECTURES)
    assert known.keys() == {*ARCHITECTURES, "qwen9"}
    assert merge([part], load_waivers(known, path)[:1], known).problems == [
        f"{path}: waiver 1: the fault is gone: 1 cells ran and none is inaccurate"
    ]
    facts.kind = facts.family = "odd"  # as a report from elsewhere may say
    assert architectures_of([part], {})["qwen9"].family is Modality.TEXT_DECODER


def test_a_shard_has_no_place_among_kept_reports() -> None:
    with pytest.raises(UsageError, match="shard 1/3 of a plan has no name of its own"):
        kept_name(shard(1).report.run)


def written(folder: Path, part: Part) -> Path:
    folder.mkdir()
    write_json(part.report, folder)
    return folder


def lines(path: Path, run: Run, *records: Record | RowRecord) -> Path:
    writer = RecordWriter(path, run)
    for record in records:
        writer.write(record)
    writer.close()
    return path


def command(*arguments: object) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["merge", *map(str, arguments)])
    return answer.exit_code, answer.output if answer.exception is None else f"{answer.output}{answer.exception}"


def test_the_command_takes_reports_in_every_form_and_writes_every_form(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one", shard(1)), written(tmp_path / "two", shard(2))
    packed = tmp_path / "two.json.gz"
    packed.write_bytes(gzip.compress((two / "matrix.json").read_bytes()))
    third = shard(3).report
    (tmp_path / "three").mkdir()
    lines(tmp_path / "three" / "records.jsonl", third.run, *third.records, *third.rows)
    status, said = command(one, packed, tmp_path / "three", "-o", tmp_path / "out")
    assert "6 cells, 6 executed" in said
    assert status == 1, "its records have no end"
    assert "problem: shard 3/3: the run was cut off: nothing says that it ended" in said
    assert what(read_report(tmp_path / "out").records) == what(whole().records)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"matrix.json", "index.html", "summary.md"}
    status, said = command(one, two, "-o", tmp_path / "out")
    assert status == 1
    assert "problem: the run was cut off: missing: shard 3/3" in said
    assert "missing: shard 3/3" in json.loads((tmp_path / "out" / "matrix.json").read_text())["problems"][0]


def test_what_is_no_shard_and_a_bad_output_are_refused(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    write_json(whole(), tmp_path / "whole")
    assert "whole: not the report of a shard" in command(tmp_path / "whole", "-o", tmp_path / "out")[1]
    one = written(tmp_path / "one", shard(1))
    assert "is the folder of one of the sources" in command(one, "-o", one)[1]
    assert read_part(one).shard.number == 1


def test_shards_that_were_run_are_equal_to_the_run_that_nobody_divided(tmp_path: Path) -> None:
    chosen = [f"--cell={cell}" for cell in CELLS]
    sabotage = {CELLS[1]: "err", CELLS[3]: "crash"}
    undivided = run_pytest(tmp_path / "whole", *chosen, "-n", "1", sabotage=sabotage)
    for number in (1, 2, 3):
        out = tmp_path / str(number)
        run_pytest(out, *chosen, f"--shard={number}/3", "-n", "1", sabotage=sabotage)
    status, said = command(*(tmp_path / str(number) for number in (1, 2, 3)), "-o", tmp_path / "out")
    assert status == 0, said
    merged = read_report(tmp_path / "out")
    assert {record.cell: record.verdict.value for record in merged.records} == undivided.verdicts
    assert merged.counts == undivided.report.counts
    assert merged.run.stack.device is Device.CPU
    assert what(merged.records) == what(undivided.report.records)


def test_a_link_to_one_of_them_is_no_other_shard(tmp_path: Path) -> None:
    one, two, three = (written(tmp_path / str(number), shard(number)) for number in (1, 2, 3))
    (tmp_path / "latest").symlink_to(three.name)
    status, said = command(one, two, three, tmp_path / "latest", "-o", tmp_path / "out")
    assert status == 0, said


def test_a_run_that_was_cut_off_is_no_size_of_a_plan(tmp_path: Path) -> None:
    cut = shard(1).report.model_copy(update={"problems": ["the run was cut off: SIGTERM"]})
    write_json(cut, tmp_path)
    for name in ("growth", "costs"):
        answer = CliRunner().invoke(app, [name, str(tmp_path)])
        assert "the run was cut off: SIGTERM" in str(answer.exception)
