"""Where the time of a run went, from a run whose times are known."""

import math
from datetime import timedelta
from typing import Any

import pytest

from matrix.cell import parse_cell
from matrix.rows import Family, RowOutcome
from reports.document import Process, ProcessMemory, Record, Report, RowRecord, make_report
from reports.spent import MEANINGS, bars, spent_by, spent_lines
from tests.builders import completed, make_run, record_of

FIRST, SECOND, THIRD = (f"llama-{dtype}-eager-prefill" for dtype in ("float32", "float16", "bfloat16"))


def record(cell: str, worker: str, began: float | None, took: float, **seconds: float) -> Record:
    found = record_of(cell, observation=completed(parse_cell(cell), seconds=seconds), worker=worker)
    found.began, found.took = began, took
    return found


def report(**changes: Any) -> Report:
    """Two workers: one is ready after 3 s and has two cells and a row, the other one cell from second 4 on."""
    given: dict[str, Any] = {
        "records": [
            record(FIRST, "gw0", 3.0, 4.0, load=0.5, forward=1.0, compile=0.25, reference=0.5),
            record(SECOND, "gw0", 7.5, 1.0, build=0.25, generate=0.5),
            record(THIRD, "gw1", 4.0, 2.0, save=1.0, place=1.0),
        ],
        "rows": [
            RowRecord(family=Family.PROPERTY, name="p", outcome=RowOutcome.HOLDS, seconds=1.5, began=8.5, worker="gw0")
        ],
        "processes": [
            Process(worker="gw0", began=1.0, seconds={"start": 0.5}),
            Process(worker="gw1", began=2.0, seconds={"start": 1.0, "collect": 0.75}),
            Process(worker="gw0", began=1.0, seconds={"start": 0.5, "collect": 1.5, "import": 1.25, "device": 0.25}),
        ],
    }
    given |= changes
    return make_report(make_run(FIRST, SECOND, THIRD), **given)


def test_every_second_of_every_worker_is_accounted_for() -> None:
    spent = spent_by(report())
    assert spent is not None
    assert (spent.wall, spent.first, spent.cells) == (10.0, 6.0, 4)
    assert spent.by_use == {
        "before": 3.0,
        "start": 1.5,
        "collect": 2.25,
        "import": 1.25,
        "device": 0.25,
        "fixture": 0.25,
        "load": 2.5,
        "run": 1.5,
        "compile": 0.25,
        "reference": 0.5,
        "rows": 1.5,
        "beside": 0.5,
        "wait": 0.75,
        "idle": 4.0,
    }
    assert sum(spent.by_use.values()) == 2 * spent.wall
    assert list(spent.by_use) == list(MEANINGS)


def test_a_process_that_died_is_not_idle_after_that() -> None:
    gone = Process(worker="gw1", began=2.0, died=7.0, seconds={"start": 1.0, "collect": 0.75})
    spent = spent_by(report(processes=[*report().processes, gone]))
    assert spent is not None
    assert spent.by_use["idle"] == 1.0


def test_a_process_that_takes_the_place_of_another_is_waited_for_since_that_one_died() -> None:
    gone = Process(worker="gw1", began=2.0, died=7.0, seconds={"start": 1.0, "collect": 0.75})
    next_one = Process(worker="gw2", began=7.5, seconds={"start": 1.0})
    spent = spent_by(report(processes=[*report().processes, gone, next_one]))
    assert spent is not None
    assert spent.workers[2].seconds("before") == 0.5
    assert bars(spent.workers[2], spent.wall)[0].left == 700


def test_a_run_that_went_on_did_not_work_in_between() -> None:
    before = report()
    run = before.run.model_copy(update={"resumed": [before.run.started + timedelta(seconds=20)]})
    late = record(THIRD, "1-gw0", 23.0, 1.0, load=1.0)
    again = Process(worker="1-gw0", began=21.0, seconds={"start": 2.0})
    records, processes = [*before.records[:2], late], [*before.processes[:1], again]
    spent = spent_by(make_report(run, records, rows=before.rows, processes=processes))
    assert spent is not None
    assert spent.by_use["before"] == 2.0
    assert spent.workers[0].seconds("idle") == 10.0, "until it went on, in another process"


def test_four_of_five_are_counted_where_they_come_fastest() -> None:
    cells = [f"llama-float32-sdpa-{side}-prefill" for side in ("left", "right")]
    ends = dict(zip([FIRST, SECOND, THIRD, *cells], (1.0, 20.0, 21.0, 22.0, 23.0), strict=True))
    records = [record(cell, "gw0", end - 0.5, 0.5) for cell, end in ends.items()]
    spent = spent_by(report(records=records, rows=[]))
    assert spent is not None
    assert (spent.first, spent.quick) == (1.0, 3.0)


def test_it_is_told_by_use_and_by_worker() -> None:
    spent = spent_by(report())
    assert spent is not None
    lines = list(spent_lines(spent))
    assert lines[0] == "4 cells and rows in 10.0 s by 2 processes; the first after 6.0 s, four of five within 2.5 s"
    assert lines[2].split()[:4] == ["idle", "4.0", "s", "20.0%"]
    assert " ".join(lines[-2].split()) == "gw0 3 cells ready after 4.5 s busy 50% idle at the end 0.0 s"
    assert " ".join(lines[-1].split()) == "gw1 1 cells ready after 3.8 s busy 20% idle at the end 4.0 s"


def test_the_memory_of_a_worker_is_told_as_far_as_it_is_known() -> None:
    has = ProcessMemory(host=3072.0, gpu=2048.0, beside=512.0, grown=96.0, cells=210)
    for memory, said in (
        (has, "host 3.0 GiB at most GPU 2.0 GiB and 0.5 GiB beside torch at the end +96 MiB in 210 cells"),
        (ProcessMemory(host=3072.0, gpu=2048.0), "host 3.0 GiB at most GPU 2.0 GiB at the end"),
        (ProcessMemory(host=512.0), "host 0.5 GiB at most"),
    ):
        known = [one.model_copy(update={"memory": memory}) for one in report().processes[:1]]
        spent = spent_by(report(processes=[*report().processes, *known]))
        assert spent is not None
        first, second = list(spent_lines(spent))[-2:]
        assert " ".join(first.split()).endswith(f"idle at the end 0.0 s {said}")
        assert second.endswith("idle at the end   4.0 s")


def test_a_report_that_does_not_say_when_is_not_guessed_at() -> None:
    untimed = [record(FIRST, "gw0", None, 0.0, load=1.0)]
    assert spent_by(report(records=untimed, rows=[])) is None
    assert spent_by(report(processes=[])) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_times_that_no_run_can_have_take_nothing_down(value: float) -> None:
    """A report may come from anywhere."""
    records = [record(FIRST, "gw0", 3.0, 1.0, load=value), record(SECOND, "gw0", value, value, load=value)]
    processes = [Process(worker="gw0", began=1.0, seconds={"start": value}), Process(worker="gw1", began=value)]
    assert spent_by(report(records=[record(FIRST, "gw0", 0.0, 0.0)], rows=[], processes=processes)) is None
    spent = spent_by(report(records=records, rows=[], processes=processes))
    assert spent is not None
    assert spent.wall == 4.0
    assert [bar.width for bar in bars(spent.workers[0], spent.wall)]


def test_the_picture_has_the_whole_line_and_what_took_most_of_each_part() -> None:
    spent = spent_by(report())
    assert spent is not None
    for worker in spent.workers:
        drawn = bars(worker, spent.wall)
        assert [bar.left for bar in drawn] == [0, *(bar.left + bar.width for bar in drawn[:-1])]
        assert drawn[-1].left + drawn[-1].width == 1000
    assert [(bar.on, bar.left) for bar in bars(spent.workers[1], spent.wall)] == [
        ("before", 0),
        ("start", 200),
        ("collect", 300),
        ("wait", 375),
        ("load", 400),
        ("idle", 600),
    ]
