"""What a run found, in a terminal: a cell with its diagnosis, and known faults with what the dials say of each cell."""

from pathlib import Path

import pytest

from matrix.cell import parse_cell
from matrix.dials import Reading
from matrix.errors import UsageError
from matrix.observation import Origin
from matrix.verdict import Verdict
from reports.document import Record, Report, Waived, make_report
from reports.found import fault_lines, found_lines, read_cell
from reports.write import write_json
from tests.builders import ended, make_run, read, record_of

READ, NOT_READ, MISSING = (f"llama-bfloat16-sdpa-{load}" for load in ("prefill", "generate", "stepwise"))
TURNED = Reading("scale", "%", 5.0, 0.03, 0.99)
BEGINS = Origin("", 0, "model.layers.0.self_attn", "LlamaAttention", "from token 1 on", 1, 0.1, 0.2, 0, 0, True)
PLACE = "begins in model.layers.0.self_attn (LlamaAttention): from token 1 on"
KNOWN = Waived(reason="scaled twice", url="https://example.org/1")


def wrong(cell_id: str, *readings: Reading, **changes: object) -> Record:
    seen = read(parse_cell(cell_id), *readings, origin=BEGINS)
    return record_of(cell_id, Verdict.INACCURATE, "off by 3", observation=seen, **changes)


def report(*records: Record) -> Report:
    return make_report(make_run(*(record.cell for record in records), MISSING), list(records), end=ended())


def told(record: Record) -> list[str]:
    return list(found_lines(report(record), record))


def test_a_cell_is_told_with_its_verdict_and_one_diagnosis() -> None:
    assert told(wrong(READ, TURNED, waived=KNOWN)) == [
        "found by the run on CPU, transformers 5.23.0, torch 2.13.0, smoke: inaccurate, known",
        "  off by 3",
        f"  diagnosis: softmax scale +5.000 ± 0.030 %: explains 99 % of the error; {PLACE}",
    ]
    assert told(wrong(NOT_READ))[-1] == f"  diagnosis: its dials were not read; {PLACE}"
    assert told(record_of(READ, Verdict.ERROR, "raised\n::error::x"))[1:] == ["  raised ::error::x"]


def test_known_faults_are_listed_cell_by_cell_where_dials_were_read() -> None:
    unread = [wrong(f"llama-bfloat16-sdpa-{load}", waived=KNOWN) for load in ("generate", "beam", "sampled", "packed")]
    other = Waived(reason="another", url="https://example.org/2")
    crashed = record_of("opt-bfloat16-sdpa-prefill", Verdict.CRASHED, waived=other)
    lines = list(
        fault_lines(report(wrong(READ, TURNED, waived=KNOWN), *unread, crashed, wrong("gpt2-float16-sdpa-prefill")))
    )
    assert lines == [
        "known: scaled twice (https://example.org/1)",
        "  softmax scale +5.000 ± 0.030 %: explains 99 % of the error in 1 cell",
        f"    {READ}: softmax scale +5.000 ± 0.030 %: explains 99 % of the error; {PLACE}",
        "  not read in 4 cells",
        f"    {', '.join(record.cell for record in unread[:3])} and 1 more",
    ]


def test_a_cell_that_a_run_did_not_measure_is_refused_in_words(tmp_path: Path) -> None:
    write_json(report(wrong(READ, TURNED)), tmp_path)
    found, record = read_cell(tmp_path / "matrix.json", READ)
    assert (found.run.profile, record.cell) == ("smoke", READ)
    for cell in (MISSING, NOT_READ):
        with pytest.raises(UsageError, match=f"did not measure '{cell}'"):
            read_cell(tmp_path / "matrix.json", cell)
