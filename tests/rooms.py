"""What the tests of rooms share: cells that are run for real, honestly and with a fault."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conformance.bench import Bench
from conformance.faults.catalogue import Fault, sdpa_answered_by
from matrix.cell import parse_cell
from matrix.expectation import SUPPORTED
from matrix.observation import Observation
from matrix.stack import Device
from matrix.verdict import Judgement, Verdict, judge
from tests.builders import ARCHITECTURES


def observed(cell_id: str, cache: Path, fault: Fault | None = None) -> tuple[Observation, Judgement]:
    """What a cell does on this CPU, and what is to be said of it."""
    cell = parse_cell(cell_id)
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=fault, explains=False)
    observation = bench.run(cell)
    return observation, judge(cell, ARCHITECTURES[cell.architecture], observation, SUPPORTED, Device.CPU)


def must_hold(cell_id: str, cache: Path) -> Observation:
    """An honest cell is supported, and goes through the phases that its workload names, and no others."""
    observation, judgement = observed(cell_id, cache)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    passed = {"load", "reference", *parse_cell(cell_id).workload.phases}
    assert passed - {"place"} <= set(observation.seconds) <= passed | {"build", "place"}
    return observation


def must_break(cell_id: str, fault: Fault, cache: Path, verdict: Verdict = Verdict.INACCURATE) -> str:
    """A fault turns the cell red; the reason."""
    judgement = observed(cell_id, cache, fault)[1]
    assert judgement.verdict is verdict, judgement.reason
    return judgement.reason


def attention_fault(wrong: Any) -> Fault:
    """The fault of a function that answers one call of attention (`Attend`) wrongly."""
    return Fault(wrong.__name__, wrong.__doc__, bool, running=lambda model: sdpa_answered_by(wrong, model))


@contextmanager
def _called_without(model: Any) -> Iterator[None]:
    usual = model.forward

    def forward(*args: Any, attention_mask: Any = None, use_cache: Any = None, **kwargs: Any) -> Any:
        return usual(*args, use_cache=False, **kwargs)

    model.forward = forward
    yield
    model.forward = usual


def must_hold_apart(cell_id: str, cache: Path) -> None:
    """Documents in one row do not see one another once the library looks for them, and do as it is.

    transformers#46634: it looks for them only in a call without cache and mask.
    """
    observation, judgement = observed(cell_id, cache, DOCUMENTS_LOOKED_FOR)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    assert observation.comparisons[0].positions == 144 + 108 + 72 + 36
    assert observed(cell_id, cache)[1].verdict is Verdict.INACCURATE


# No fault but a repair: only in a call without cache and mask does the library look for documents in one row.
DOCUMENTS_LOOKED_FOR = Fault(
    "documents_looked_for", "a library that looks for documents", bool, running=_called_without
)
