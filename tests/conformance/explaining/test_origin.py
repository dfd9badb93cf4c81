"""Where wrong numbers begin: faults planted in one module, and what must not be named."""

from pathlib import Path

import pytest
import torch

from conformance.bench import Bench
from conformance.explaining.calls import Calls
from conformance.faults import find
from conformance.faults.catalogue import Fault
from conformance.faults.planted import PLANTED
from conformance.interruption import DeviceLost
from matrix import oracle
from matrix.cell import make_cell, parse_cell
from matrix.observation import Ending, Origin
from matrix.stack import Device
from matrix.verdict import begins
from tests.builders import ARCHITECTURES


@pytest.fixture
def bench(cache: Path) -> Bench:
    return Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache)


@pytest.fixture(scope="module")
def warm_bench(cache: Path) -> Bench:
    """One for many faults in the same cells, which have the same references: as in a worker they are made once."""
    return Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache)


def origin(bench: Bench, cell_id: str, fault: Fault | None = None) -> Origin:
    bench.fault = fault
    cell = parse_cell(cell_id)
    assert any(oracle.problems(one) for one in bench.run(cell).comparisons)
    found = bench.origin(cell)
    assert found is not None
    return found


@pytest.mark.parametrize("name", list(PLANTED))
@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_the_module_is_named_in_which_the_fault_was_planted(warm_bench: Bench, architecture: str, name: str) -> None:
    bench = warm_bench
    planted = PLANTED[name]
    cell = make_cell(architecture, dtype="float32", attention="sdpa", padding="left", workload=planted.workload)
    found = origin(bench, cell.id, planted.fault())
    course, _ = bench.recorded(cell, Calls())
    model = course.load()
    names = {id(module): name for name, module in model.named_modules()}
    assert found.module == names[id(planted.where(model))]
    assert found.brings
    assert found.finite is (name != "overflow")
    assert found.strip
    assert found.rows
    if name == "head":
        assert set(found.heads) == {0, 1}
    if name == "dead_row":
        assert found.pattern == "row 1 only"


def test_an_honest_cell_has_no_origin(bench: Bench) -> None:
    assert bench.origin(parse_cell("llama-bfloat16-sdpa-left-prefill")) is None


def test_a_stale_step_names_the_call(bench: Bench) -> None:
    found = origin(bench, "llama-float32-sdpa-left-generate", PLANTED["stale_cache_slot"].fault())
    assert found.call == 1
    assert "call 1, model.layers.1.self_attn" in next(begins(found))


def test_a_relation_says_which_run(bench: Bench) -> None:
    found = origin(bench, "jamba-float32-eager-chunked_prefill")
    assert (found.run, found.kind) == ("second run", "JambaMambaMixer")


def test_padding_that_is_seen_shows_in_padded_rows(bench: Bench) -> None:
    found = origin(bench, "recurrent_gemma-float32-eager-left-prefill")
    assert (found.kind, found.pattern) == ("RecurrentGemmaRecurrentBlock", "padded rows only")
    assert set(found.rows[0]) == {"."}


def test_eager_that_overflows_too_is_the_dtype_and_not_the_backend(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The references share what the candidate has, as with weights that are too large for float16."""
    cell = parse_cell("llama-float16-sdpa-left-prefill")
    usual = transformers_mlp().forward

    def overflowing(self, hidden):
        found = usual(self, hidden)
        return found if found.dtype is torch.float32 else found * 1e6

    monkeypatch.setattr(transformers_mlp(), "forward", overflowing)
    found = bench.origin(cell)
    assert found is not None
    assert (found.finite, found.eager_too, found.kind) == (False, True, "LlamaMLP")
    assert found.largest_input > 0
    assert "the dtype's range, not the backend" in list(begins(found))[1]


def transformers_mlp():
    from transformers.models.llama import modeling_llama

    return modeling_llama.LlamaMLP


def test_wrong_gradients_begin_where_they_are_handed_back_wrong(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(context, value):
            return value.clone()

        @staticmethod
        def backward(context, gradient):
            return 1.2 * gradient

    def planted(model):
        module = model.model.layers[0].mlp
        usual = module.forward
        module.forward = lambda hidden: usual(Wrong.apply(hidden))

    fault = Fault("gradient", "", lambda architecture: True, loaded=lambda model, cell: planted(model))
    found = origin(bench, "llama-float32-sdpa-train", fault)
    assert (found.backwards, found.module, found.kind) == (True, "model.layers.0.mlp", "LlamaMLP")


def test_an_explanation_that_fails_says_nothing_and_leaves_nothing_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = torch.nn.Module.__call__
    monkeypatch.setattr("conformance.bench.origin_of", lambda *args, **kwargs: 1 / 0)
    bench.fault = find("scale_10_percent")
    assert bench.origin(parse_cell("llama-float32-sdpa-prefill")) is None
    assert torch.nn.Module.__call__ is usual


def test_an_explanation_that_loses_the_device_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.bench.origin_of", lambda *args, **kwargs: 1 / 0)
    monkeypatch.setattr(bench, "_ending_of", lambda error: Ending.DEVICE_LOST)
    with pytest.raises(DeviceLost):
        bench.origin(parse_cell("llama-float32-sdpa-prefill"))
