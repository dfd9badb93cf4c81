"""Relations hold for honest models, and each one fails where what it is about goes wrong."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.faults import FAULTS, Fault
from conformance.faults.catalogue import Attend, sdpa_answered_by
from conformance.measure.run import Bench
from matrix.axes import Workload
from matrix.cell import Cell, parse_cell
from matrix.expectation import SUPPORTED
from matrix.stack import Device
from matrix.verdict import Judgement, Verdict, judge
from tests.builders import ARCHITECTURES

CELLS = {
    Workload.PADDING_INVARIANCE: "opt-bfloat16-sdpa-right-padding_invariance",
    Workload.BATCH_PERMUTATION: "bert-bfloat16-sdpa-left-batch_permutation",
    Workload.CAUSALITY: "t5-bfloat16-sdpa-causality",
    Workload.STEPWISE: "llama-bfloat16-sdpa-left-stepwise",
    Workload.CHUNKED_PREFILL: "gpt2-bfloat16-sdpa-left-chunked_prefill",
    Workload.STATIC_CACHE: "llama-bfloat16-sdpa-left-static_cache",
    Workload.PLACEMENT_INVARIANCE: "llama-bfloat16-sdpa-auto-left-placement_invariance",
    Workload.RELOAD: "opt-bfloat16-sdpa-left-reload",
}


def first_row_is_special(call: Attend) -> torch.Tensor:
    """A kernel that treats the first row of a batch as if it were another."""
    scale = torch.ones(len(call.query), 1, 1, 1, dtype=call.query.dtype)
    scale[0] = 1.5
    return call(query=call.query * scale)


def cache_seen_backwards(call: Attend) -> torch.Tensor:
    """What lies in the cache is read in the wrong order, what is new is not."""
    cached = call.key.shape[-2] - call.query.shape[-2]
    if cached <= 0:
        return call()
    order = [*reversed(range(cached)), *range(cached, call.key.shape[-2])]
    return call(key=call.key[..., order, :], value=call.value[..., order, :])


def empty_slots_attended(call: Attend) -> torch.Tensor:
    """Nothing is masked that lies beyond the tokens of a static cache."""
    beyond = call.masked.all(-2, keepdim=True) & (torch.arange(call.key.shape[-2]) > 100)
    return call(bias=call.with_mask(call.masked & ~beyond))


@contextlib.contextmanager
def nudged(model: Any) -> Iterator[None]:
    """The first model says something that is not in its weights."""
    hook = model.get_output_embeddings().register_forward_hook(lambda module, args, output: output + 1)
    try:
        yield
    finally:
        hook.remove()


def attention(wrong: Any) -> Fault:
    return Fault(wrong.__name__, wrong.__doc__, bool, running=lambda model: sdpa_answered_by(wrong, model))


BROKEN = {
    Workload.PADDING_INVARIANCE: FAULTS["padding_ignored"],
    Workload.BATCH_PERMUTATION: attention(first_row_is_special),
    Workload.CAUSALITY: FAULTS["causal_off_by_one"],
    Workload.STEPWISE: FAULTS["stale_cache_slot"],
    Workload.CHUNKED_PREFILL: attention(cache_seen_backwards),
    Workload.STATIC_CACHE: attention(empty_slots_attended),
    Workload.PLACEMENT_INVARIANCE: FAULTS["module_stale"],
    Workload.RELOAD: Fault("nudged", "a hook that is not saved", bool, running=nudged),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fixtures")


def judged(cell: Cell, cache: Path, fault: Fault | None = None) -> Judgement:
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=fault)
    return judge(cell, ARCHITECTURES[cell.architecture], bench.run(cell), SUPPORTED, Device.CPU)


def test_every_relation_is_tried_and_broken() -> None:
    relations = {workload for workload in Workload if workload.is_relation}
    assert set(CELLS) == set(BROKEN) == relations
    assert all(parse_cell(cell).workload is workload for workload, cell in CELLS.items())


@pytest.mark.parametrize("workload", CELLS)
def test_a_relation_holds_for_an_honest_model_and_not_for_one_that_breaks_it(cache: Path, workload: Workload) -> None:
    cell = parse_cell(CELLS[workload])
    assert judged(cell, cache).verdict is Verdict.SUPPORTED
    broken = judged(cell, cache, BROKEN[workload])
    assert broken.verdict is Verdict.INACCURATE
    assert workload.value in broken.reason
