"""Parsers of runs in parts: shares of a plan, a run that goes on, and reports that are put together."""

import math
import random
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from conformance.plugin.recording import Recorder
from conformance.plugin.resuming import Earlier
from conformance.plugin.settings import Settings, names_in
from matrix.cell import parse_cell
from matrix.costs import Costs
from matrix.rows import Family
from matrix.shard import divide, parse_shard
from matrix.verdict import Verdict
from reports.compact import to_json
from reports.costs import costs_of, toml_lines, took_time
from reports.document import End, Process, Report, RowRecord, Run, Sharded, make_report
from reports.growth import growth_lines, growth_of, growth_svg
from reports.merge import merge, read_part
from reports.reading import read_report
from reports.spent import spent_by, spent_lines
from tests.builders import ARCHITECTURES, ended, make_run, make_stack, record_of
from tests.fuzz.contract import Parser, must
from tests.fuzz.inputs import broken_bytes, broken_text

CELLS = [f"{name}-float32-{how}-prefill" for name in ("llama", "gpt2", "opt") for how in ("eager", "sdpa")]
ROWS = ["property:right", "property:finite"]


def parsers_of_parts(folder: Path) -> list[Parser]:
    """All of them; `folder` is theirs to write to."""
    documents, lines = [*map(to_json, shards(2))], [lines_of(report) for report in shards(2)]
    return [
        Parser("--shard", 40, _shard, _parse_shard),
        _only(folder / "only"),
        _resume(folder / "resume"),
        _merge("matrix.json", folder / "documents", documents),
        _merge("records.jsonl", folder / "lines", lines),
        _of_reports("costs", folder / "costs", _costs),
        _of_reports("growth", folder / "growth", _growth),
    ]


def shards(of: int) -> list[Report]:
    """The reports of a plan's shards, which went on where they had been cut off."""
    of_cells, of_rows = divide([parse_cell(cell) for cell in CELLS], ROWS, of)
    return [
        _report(
            [cell for cell, its in zip(CELLS, of_cells, strict=True) if its == number],
            [row for row, its in zip(ROWS, of_rows, strict=True) if its == number],
            shard=Sharded(number=number, of=of, planned=CELLS, planned_rows=ROWS),
        )
        for number in range(1, of + 1)
    ]


def timed(cells: int) -> Report:
    """The report of a whole run of so many cells."""
    return _report(CELLS[:cells], ROWS)


def lines_of(report: Report) -> str:
    """The records.jsonl that a report adds up from."""
    parts = [report.run, *report.processes, *report.records, *report.rows, End(finished=report.finished)]
    return "".join(f"{part.model_dump_json()}\n" for part in parts)


def _report(cells: Sequence[str], rows: Sequence[str], **changes: Any) -> Report:
    options = {"--cell-timeout": "300"}
    run = make_run(*cells, planned_rows=list(rows), commit="abc", options=options, **changes)
    run = run.model_copy(update={"launched": run.started, "resumed": [run.started]})
    records = [record_of(cell, began=10.0 + at, took=1.0, worker="gw0") for at, cell in enumerate(cells)]
    of_rows = [
        RowRecord(family=Family.PROPERTY, name=row.partition(":")[2], outcome="holds", began=40.0, seconds=1.0)
        for row in rows
    ]
    return make_report(run, records, rows=of_rows, processes=[Process(worker="gw0", began=1.0)], end=ended())


def _shard(draw: random.Random) -> str:
    of = draw.choice((1, 2, 3, 12, 999_999))
    return broken_text(draw, [f"{draw.randint(1, of)}/{of}", "2/3"]) if draw.random() < 0.8 else f"{of}/{of}"


def _parse_shard(text: str) -> None:
    shard = parse_shard(text)
    must([shard.number, shard.of] == [int(part) for part in text.split("/")], f"it means {shard}")
    must(1 <= shard.number <= shard.of, "there is no such part")


def _only(folder: Path) -> Parser:
    folder.mkdir(parents=True)
    seeds = ["\n".join([*CELLS, *ROWS]).encode(), f"{CELLS[0]}\n".encode()]

    def parse(content: bytes) -> None:
        (folder / "names").write_bytes(content)
        names = names_in(folder, "names")
        must(names, "it names nothing")
        for name in names or ():
            family, colon, row = name.partition(":")
            must(row and family in {one.value for one in Family} if colon else parse_cell(name).id == name, name)

    return Parser("--only", 40, lambda draw: broken_bytes(draw, seeds), parse)


def _resume(folder: Path) -> Parser:
    settings = _settings(folder)
    nodeids = [f"conformance/test_cells.py::test_cell[{cell}]" for cell in CELLS]
    with patch("conformance.plugin.recording.commit_of_suite", lambda: "abc"):
        begun = Recorder(settings, ("pytest",))
        folder.mkdir(parents=True)
        begun.planned(nodeids)
    when = timed(1).run.started  # always the same
    began = Run.model_validate_json((folder / "records.jsonl").read_text(encoding="utf-8"))
    began = began.model_copy(update={"started": when, "launched": when, "platform": ""})
    whole = make_report(began, timed(6).records[:4], processes=timed(1).processes, end=ended())
    whole.records[4:] = []  # what is missing has no line
    of_another_plan = record_of("bloom-float32-eager-prefill").model_dump_json()
    seeds = [lines_of(whole), f"{began.model_dump_json()}\n", f"{began.model_dump_json()}\n{of_another_plan}\n"]

    def parse(content: bytes) -> None:
        (folder / "records.jsonl").write_bytes(content)
        earlier = Earlier(folder)
        recorder = Recorder(settings, ("pytest",), earlier)
        with patch("conformance.plugin.recording.commit_of_suite", lambda: "abc"):
            recorder.planned(nodeids)
        report = recorder.finish()
        must(report is not None and report.run.resumed, "it does not go on")
        again = read_report(folder / "records.jsonl")
        must([one.cell for one in again.records] == CELLS, "its cells are not those of the plan")
        measured = {one.cell for one in again.records if one.verdict is not Verdict.MISSING}
        must(measured == earlier.names, "what was measured is lost")

    contents = [text.encode() for text in seeds]
    return Parser("--resume", 40, lambda draw: broken_bytes(draw, contents), parse)


def _settings(folder: Path) -> Settings:
    return Settings(
        profile="smoke",
        cells="",
        cell_ids=tuple(CELLS),
        required=(),
        report_dir=folder,
        fixture_cache=folder / "cache",
        checkpoint_arguments=(),
        folders={},
        architecture_folder=None,
        expectation_path=None,
        waiver_path=None,
        cell_timeout=300.0,
        trust_remote_code=False,
        fault=None,
        seed=0,
        stack=make_stack(),
    )


def _merge(name: str, folder: Path, seeds: Sequence[str]) -> Parser:
    (folder / "other").mkdir(parents=True)
    (folder / "other" / "matrix.json").write_text(to_json(shards(2)[1]), encoding="utf-8")
    other, contents = read_part(folder / "other"), [text.encode() for text in seeds]
    alone = _report(CELLS, ROWS, shard=Sharded(number=1, of=1, planned=CELLS, planned_rows=ROWS))
    early, late = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
    of_this = lines_of(alone) if name.endswith(".jsonl") else to_json(alone)
    contents += [
        of_this.encode(),
        of_this.replace("2026-01-02T00:00:00Z", early).replace("2026-11-22T00:00:00Z", late).encode(),
    ]

    def parse(content: bytes) -> None:
        (folder / name).write_bytes(content)
        part = read_part(folder)
        for parts in ([part], [other, part]):
            merged = merge(parts, (), ARCHITECTURES)
            text = to_json(merged)
            (folder / "merged.json").write_text(text, encoding="utf-8")
            must(to_json(read_report(folder / "merged.json")) == text, "written down and read again it is another")
            must(merged.run.shard is None, "the whole is called a part")
            planned = [*merged.run.planned, *merged.run.planned_rows]
            here = {*(one.cell for one in merged.records), *(one.key for one in merged.rows)}
            must(here <= set(planned), "it holds what nobody planned")
            must(len(here) >= len(set(planned)) or merged.unreadable, "something is neither there nor missing")
        must(set(planned) == {*CELLS, *ROWS}, "shards of other plans are joined")

    return Parser(f"merge {name}", 12, lambda draw: broken_bytes(draw, contents), parse)


def _of_reports(name: str, folder: Path, made_of: Callable[[Report], None]) -> Parser:
    folder.mkdir(parents=True)
    seeds = [to_json(timed(6)).encode(), timed(4).model_dump_json().encode()]

    def parse(content: bytes) -> None:
        (folder / "matrix.json").write_bytes(content)
        made_of(read_report(folder / "matrix.json"))

    return Parser(f"reports {name}", 12, lambda draw: broken_bytes(draw, seeds), parse)


def _costs(report: Report) -> None:
    if not took_time(report):
        return
    found = costs_of([report, timed(6)])
    table = Costs(**tomllib.loads("\n".join(toml_lines(found))))
    must(set(table.cells) == set(found.cells) and set(table.rows) == set(found.rows), "its table lacks something")
    for costs in vars(table).values():
        must(all(math.isfinite(cost) and cost >= 0 for cost in costs.values()), "a cost is none")


def _growth(report: Report) -> None:
    if (spent := spent_by(report)) is not None:
        list(spent_lines(spent))
    growth = growth_of([report, timed(3)])
    must(math.isfinite(growth.exponent), "it grows as no power")
    must(all("nan" not in line and "inf" not in line for line in list(growth_lines(growth))[1:]), "no numbers")
    ElementTree.fromstring(growth_svg(growth))
