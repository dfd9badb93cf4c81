"""What comes of a block is kept as it comes, and what is left of it is known."""

from pathlib import Path

import pytest

from conformance.cluster.gathering import Gathered
from matrix.errors import UsageError
from matrix.rows import Family, RowOutcome
from reports.document import Process, RowRecord, Sharded
from reports.merge import merge, read_part
from tests.builders import ended, make_run, record_of

CELLS = ["llama-float32-eager-prefill", "llama-float32-sdpa-prefill"]
ROW = "property:right"
PLAN = Sharded(number=1, of=2, planned=CELLS, planned_rows=[ROW])
RUN = make_run(*CELLS, planned_rows=[ROW]).model_dump_json()
ROW_RECORD = RowRecord(family=Family.PROPERTY, name="right", outcome=RowOutcome.HOLDS)


def gathered(folder: Path) -> Gathered:
    return Gathered(folder / "1", (*CELLS, ROW), PLAN)


def test_what_has_come_is_on_disk_at_once_and_no_longer_left(tmp_path: Path) -> None:
    block = gathered(tmp_path)
    assert block.take(RUN) == 0
    assert block.take(f"{record_of(CELLS[0]).model_dump_json()}\n{ROW_RECORD.model_dump_json()}") == 2
    assert block.left == (CELLS[1],)
    assert len((tmp_path / "1" / "records.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert not block.ended


def test_of_a_node_that_is_gone_the_processes_died_and_the_rest_is_another_blocks(tmp_path: Path) -> None:
    block = gathered(tmp_path)
    alive = Process(worker="gw0", began=1.0)
    block.take("\n".join([RUN, alive.model_dump_json(), record_of(CELLS[0]).model_dump_json()]))
    block.close()
    block.close()
    again = Gathered(tmp_path / "2", block.left, PLAN.model_copy(update={"number": 2}))
    rest = [record_of(CELLS[1]).model_dump_json(), ROW_RECORD.model_dump_json()]
    again.take("\n".join([RUN, alive.model_dump_json(), *rest, ended("no cell of waiver 1").model_dump_json()]))
    again.close()
    report = merge([read_part(tmp_path / "1"), read_part(tmp_path / "2")])
    assert report.problems == []
    assert [record.cell for record in report.records] == CELLS
    died = {process.worker: process.died is not None for process in report.processes}
    assert died == {"1/2 gw0": True, "2/2 gw0": False}


@pytest.mark.parametrize("line", ["not JSON", '{"kind": "mood"}', '{"kind": "record", "cell": 1}'])
def test_what_is_no_line_of_a_report_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match="a node sent what is no line of a report"):
        gathered(tmp_path).take(line)
