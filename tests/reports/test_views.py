"""What the pages show: remedies for what is not here, sizes, the values of the axes, scripts in few pieces."""

import json
from dataclasses import replace
from typing import Any

import pytest

from matrix.cell import parse_cell
from matrix.dials import Reading
from matrix.reproduce import reproducing_script
from matrix.rows import Family, RowOutcome
from matrix.stack import REQUIREMENTS
from matrix.verdict import Verdict
from reports.cell_data import scripts_json
from reports.document import Record, RowRecord, make_report
from reports.explained import why_wrong
from reports.sizes import sizes
from reports.views import REMEDIES, absences, axis_values
from tests.builders import ARCHITECTURES, completed, ended, make_run, read, record_of

CELLS = ("llama-bfloat16-sdpa-prefill", "t5-float16-eager-nf4-left-generate", "falcon-float32-sdpa-math-causality")


def test_every_requirement_has_a_remedy() -> None:
    assert set(REQUIREMENTS) <= REMEDIES.keys()


@pytest.mark.parametrize(
    ("reason", "remedies"),
    [
        ("needs cuda, flash-attn", [REMEDIES["cuda"], REMEDIES["flash-attn"]]),
        ("needs 2 GPUs (here 1)", [REMEDIES["GPUs"]]),
        ("needs transformers <4.49 (here 5.23.0), optimum <2 (here none)", ["transformers<4.49", "optimum<2"]),
        ("needs cuda or transformers >=4.49 (here 4.48.3)", [REMEDIES["cuda"], "transformers>=4.49"]),
        ("no cudnn kernel on this cpu", []),
        ("torch.backends.cuda has no say on a CPU", []),
        ("", []),
    ],
)
def test_what_is_not_here_says_what_would_make_it_available(reason: str, remedies: list[str]) -> None:
    away = RowRecord(family=Family.GUIDE, name="G1", outcome=RowOutcome.UNAVAILABLE, reason=reason)
    (found,) = absences([], [away, RowRecord(family=Family.GUIDE, name="G2", outcome=RowOutcome.HOLDS)])
    assert (found.what, found.count, found.rows) == (reason or "no reason given", 0, 1)
    assert found.remedies == [r if r in REMEDIES.values() else f"pip install '{r}'" for r in remedies]


def sized(cell: str, size: int, **changes: Any) -> Record:
    observation = completed(parse_cell(cell))
    return record_of(
        cell, observation=replace(observation, evidence=replace(observation.evidence, weight_bytes=size)), **changes
    )


def test_sizes_are_shares_of_the_unquantised_weights_in_the_same_dtype() -> None:
    (found,) = sizes(
        [
            sized("llama-float32-sdpa-prefill", 8 << 20),
            sized("llama-bfloat16-sdpa-prefill", 4 << 20),
            sized("llama-bfloat16-sdpa-left-prefill", 3 << 20),  # a part of it was elsewhere
            sized("llama-bfloat16-sdpa-nf4-prefill", 1 << 20),
            sized("llama-bfloat16-sdpa-nf4-left-dequantised_saved", 4 << 20),  # of another format by then
            sized("llama-float16-sdpa-int8-prefill", 2 << 20),  # nothing to hold it against
            sized("opt-float16-sdpa-prefill", 2 << 20),  # nothing to hold against it
        ]
    )
    assert (found.architecture, found.dtype) == ("llama", "bfloat16")
    assert [(one.quantisation, one.mebibytes, one.share) for one in found.by_quantisation] == [
        ("none", 4.0, 1.0),
        ("nf4", 1.0, 0.25),
    ]


def test_the_values_of_an_axis_stand_in_its_order_and_strange_ones_last() -> None:
    strange = record_of(CELLS[0]).model_copy(update={"axes": record_of(CELLS[0]).axes | {"dtype": "float8"}})
    values = axis_values([strange, *map(record_of, CELLS)])
    assert values["dtype"] == ["float32", "float16", "bfloat16", "float8"]
    assert values["architecture"] == ["llama", "t5", "falcon"]
    assert values["backend"] == ["eager", "sdpa", "sdpa (math)"]


def assembled(data: dict[str, Any], number: int, cell: str) -> str:
    """A script as the page puts it together."""
    shape, *holes = data["scripts"][number]
    texts = [cell, *data["texts"][1:]]
    return "".join(texts[holes.pop(0) if at < 0 else at] for at in data["shapes"][shape])


def test_scripts_are_kept_in_pieces_and_come_out_whole() -> None:
    records = [record_of(cell, seed=3) for cell in (*CELLS, CELLS[0])]
    run = make_run(*CELLS, checkpoints={"t5": "/data/</script>"})
    data = json.loads(scripts_json(make_report(run, records, end=ended())))
    for number, name in enumerate(CELLS):
        cell = parse_cell(name)
        checkpoint = run.checkpoints.get(cell.architecture)
        assert assembled(data, number, name) == reproducing_script(
            cell, ARCHITECTURES[cell.architecture], checkpoint, seed=3
        )
    assert "</script>" not in scripts_json(make_report(run, records, end=ended()))


def test_the_script_of_wrong_numbers_says_what_explains_them() -> None:
    cell = parse_cell(CELLS[0])
    wrong = record_of(CELLS[0], Verdict.INACCURATE, observation=read(cell, Reading("scale", "%", 5.0, 0.03, 0.99)))
    right = record_of(CELLS[0], observation=wrong.observation)
    for record, found in ((wrong, why_wrong(wrong)), (right, "")):
        data = json.loads(scripts_json(make_report(make_run(CELLS[0]), [record], end=ended())))
        script = assembled(data, 0, CELLS[0])
        assert script == reproducing_script(cell, ARCHITECTURES[cell.architecture], found=found)
        assert ("# What a run found of it: softmax scale +5.000 ± 0.030 %" in script) is bool(found)


@pytest.mark.parametrize("cell", ["grok-float32-eager-prefill", "not a cell"])
def test_a_cell_that_this_release_cannot_reproduce_has_no_script(cell: str) -> None:
    record = record_of(CELLS[0], Verdict.ERROR).model_copy(update={"cell": cell})
    report = make_report(make_run(), [record], end=ended())
    assert json.loads(scripts_json(report))["scripts"] == [[]]
