"""A model in a process of its own: what is advised of it can be pasted, and is what was judged and timed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from conformance.advising.references import make_truth
from conformance.advising.subject import Subject, spelled
from conformance.advising.task import Task, Way
from conformance.models.loading import Source
from conformance.rooms import doing
from conformance.spellings import forget_compiled, graphs_traced
from matrix.advice.search import Failed, Sample, State
from matrix.architectures import load_architectures
from matrix.cell import make_cell
from matrix.installed import of_checkpoint
from matrix.quantisers import QUANTISATIONS
from matrix.stack import Device

NEW = 14  # tokens, more than are forced
ON_THE_FLY = [name for name, one in QUANTISATIONS.items() if one.stored_as and not one.written]


@pytest.mark.parametrize("name", ON_THE_FLY)
def test_what_is_spelled_is_what_was_given(name: str) -> None:
    package = QUANTISATIONS[name].family
    pytest.importorskip({"quanto": "optimum.quanto"}.get(package, package))
    cell = make_cell("llama", dtype="bfloat16", attention="sdpa", quantisation=name, workload="prefill")
    given = doing(cell).load_arguments(cell.quantisation, torch.bfloat16)["quantization_config"]
    text, imports = spelled(given)
    known: dict[str, Any] = {}
    exec("\n".join(imports), known)
    pasted = eval(text, known)
    assert type(pasted) is type(given)
    assert pasted.to_dict() == given.to_dict()


def test_what_is_no_configuration_is_written_as_it_is() -> None:
    assert spelled("auto") == ('"auto"', [])
    assert spelled({"model": 0, "lm_head": "cpu"}) == ("{'model': 0, 'lm_head': 'cpu'}", [])


def subject_of(checkpoint: Path, references: Path, compiles: Any = None) -> tuple[Subject, Way]:
    """With a static cache, left to `generate`, which is told to compile on a CPU as well, and by what."""
    known = load_architectures()
    architecture = of_checkpoint("mine", checkpoint, references, known)
    cell = make_cell("mine", dtype="float32", attention="sdpa", padding="left", cache="static", workload="generate")
    way = Way(replace(cell, architecture="mine").id, by_generate=True)
    task = Task(architecture, str(checkpoint), way.cell, Device.CPU, 24, str(references), apart="alone")
    make_truth(cell, Source(architecture, str(checkpoint)), doing(cell), torch.device("cpu"), 24, str(references))
    subject = Subject(task)
    if compiles is not None:
        config = transformers.CompileConfig(backend=compiles, mode=None)
        config._compile_all_devices = True
        subject.model.generation_config.compile_config = config
    return subject, way


def test_what_is_left_to_generate_is_compiled_when_it_is_judged_and_when_it_is_timed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.advising.subject.repeats", lambda seconds: 0)
    runs = []

    def compiles(graph: Any, inputs: Any) -> Any:
        def run(*given: Any) -> Any:
            runs.append(1)
            return graph(*given)

        return run

    subject, way = subject_of(checkpoint, tmp_path, compiles)
    finding = subject.judge(way, 1, 24, NEW)
    assert finding.state is State.RIGHT, finding.why
    judged = len(runs)
    assert judged > 0
    subject.time(way, 1, 24, NEW)
    timed = len(runs)
    assert timed > judged, "nobody watched it, or torch would compile it never again"
    subject.time(way, 1, 24, NEW)
    assert len(runs) - timed == NEW - 1


def test_what_generate_compiles_is_judged_in_the_shapes_that_are_timed_and_compiled_for_them_once(
    checkpoint: Path, tmp_path: Path
) -> None:
    forget_compiled()  # what other tests made it compile for
    subject, way = subject_of(checkpoint, tmp_path, lambda graph, inputs: graph)
    assert subject.judge(way, 2, 30, NEW).state is State.RIGHT
    for rows in (2, 5):
        judged = graphs_traced()
        assert isinstance(subject.time(way, rows, 30, NEW), Sample)
        assert (graphs_traced() > judged) is (rows == 5), "other rows are compiled for, and judged"
        assert (way, rows, 30, NEW) in subject._right


@pytest.mark.parametrize(
    ("calls", "counted"),
    [
        ([(0.01, 0.06), (0.003, 0.04), (0.002, 0.02)], (0.0025, 0.03)),
        ([(0.3, 0.4)], (0.3, 0.4)),
    ],
)
def test_a_short_call_is_timed_again_at_once_and_the_first_does_not_count(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calls: list[tuple[float, float]],
    counted: tuple[float, float],
) -> None:
    subject, way = subject_of(checkpoint, tmp_path)
    left = iter(calls)
    monkeypatch.setattr(Subject, "_clocked", lambda self, call: next(left))
    sample = subject.time(way, 1, 24, NEW)
    assert (sample.first, sample.whole) == pytest.approx(counted)
    assert next(left, None) is None


def test_what_is_compiled_wrongly_for_other_rows_is_wrong(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, way = subject_of(checkpoint, tmp_path, lambda graph, inputs: graph)
    assert subject.judge(way, 1, 24, NEW).state is State.RIGHT
    usual = Subject._steps
    monkeypatch.setattr(Subject, "_steps", lambda self, *known, **given: usual(self, *known, **given).roll(1, 1))
    found = subject.time(way, 3, 24, NEW)
    assert isinstance(found, Failed)
    assert (found.state, "exceeds" in found.why) == (State.WRONG, True)


def test_what_generate_does_not_compile_is_not_what_it_is_called(checkpoint: Path, tmp_path: Path) -> None:
    subject, way = subject_of(checkpoint, tmp_path)
    finding = subject.judge(way, 1, 24, NEW)
    assert finding.state is State.SUBSTITUTED
    assert "generate compiled nothing by itself" in finding.why
