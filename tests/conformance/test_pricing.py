"""What a cell takes beside its twin, on a clock that is played: it goes on with the work that is done, and with nothing
else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from conformance import pricing
from conformance.bench import Bench
from conformance.models.fixtures import fixture
from conformance.models.loading import Source
from conformance.pricing import TURNS, WARM_UPS, price
from conformance.workloads.generate import NEW_TOKENS
from matrix.cell import parse_cell
from matrix.observation import Price
from matrix.stack import Device
from tests.builders import ARCHITECTURES

STATIC = "gpt2-float32-sdpa-left-static-generate"
LAYERS = 2


class Work:
    """A clock that goes on by what each layer of a cache costs, and keeps who was watching meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, dynamic: float, static: float) -> None:
        self.now = 0.0
        self.order: list[str] = []
        self.watched = False
        for name, cost in (("DynamicLayer", dynamic), ("StaticLayer", static)):
            layer = getattr(transformers.cache_utils, name)
            monkeypatch.setattr(layer, "update", self._costing(layer.update, name, cost))

    def _costing(self, update: Callable[..., Any], name: str, cost: float) -> Callable[..., Any]:
        def costing(layer: Any, *args: Any, **kwargs: Any) -> Any:
            self.now += cost
            self.order.append(name)
            self.watched |= bool(_get_current_dispatch_mode_stack()) or torch.autograd._profiler_enabled()
            return update(layer, *args, **kwargs)

        return costing


def priced(cell_id: str, cache: Path, clock: Callable[[], float]) -> Price:
    cell = parse_cell(cell_id)
    architecture = ARCHITECTURES[cell.architecture]
    source = Source(architecture, str(fixture(architecture, cache)), formats=str(cache / "formats"))
    return price(cell, source, torch.device("cpu"), 0, clock)


@pytest.mark.parametrize("cost", [2.0, 0.5])
def test_what_a_cache_costs_is_the_work_that_it_makes_for_each_token(
    cache: Path, monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    monkeypatch.setattr(pricing, "TURNS", 2)
    work = Work(monkeypatch, dynamic=1.0, static=cost)
    found = priced(STATIC, cache, lambda: work.now)
    assert (found.axis, found.twin, found.unit) == ("cache", "gpt2-float32-sdpa-left-generate", "token")
    assert found.usual.seconds == (LAYERS * 1.0,) * 2
    assert found.own.seconds == (LAYERS * cost,) * 2
    assert found.own.prompt_seconds == (LAYERS * cost,) * 2  # which is one pass
    assert found.own.peak_mib is found.usual.peak_mib is None  # a CPU counts no memory


def test_nobody_watches_what_is_timed_and_the_sides_take_turns(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch, dynamic=1.0, static=1.0)
    priced(STATIC, cache, lambda: work.now)
    assert not work.watched
    runs = work.order[:: LAYERS * NEW_TOKENS]
    assert len(runs) == 2 * (WARM_UPS + TURNS)
    own, usual = "StaticLayer", "DynamicLayer"
    assert runs[: 2 * WARM_UPS] == [own] * WARM_UPS + [usual] * WARM_UPS
    assert runs[2 * WARM_UPS :] == [usual, own, own, usual] * (TURNS // 2)


def test_a_watch_would_be_seen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch, dynamic=1.0, static=1.0)
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache)
    bench.run(parse_cell(STATIC))
    assert work.watched


def test_of_a_quantised_model_a_pass_is_timed_and_its_files_are_weighed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricing, "TURNS", 1)
    ticks = iter(range(1000))
    found = priced("bert-bfloat16-sdpa-nf4-prefill", cache, lambda: float(next(ticks)))
    assert (found.axis, found.unit, found.own.seconds, found.own.prompt_seconds) == ("quantisation", "pass", (1.0,), ())
    assert 0 < found.own.weight_bytes < found.usual.weight_bytes
    assert found.own.disk_bytes
    assert found.usual.disk_bytes
    assert found.usual.weight_bytes <= found.usual.disk_bytes < 1.2 * found.usual.weight_bytes  # and a header
    assert found.own.disk_bytes < found.usual.disk_bytes


def test_of_a_format_that_is_written_the_checkpoint_is_weighed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "TURNS", 1)
    found = priced("llama-bfloat16-sdpa-fp8_dequantised-prefill", cache, lambda: 0.0)
    assert found.own.weight_bytes == found.usual.weight_bytes
    assert found.own.disk_bytes
    assert found.usual.disk_bytes
    assert found.own.disk_bytes < found.usual.disk_bytes


def test_what_cannot_be_saved_has_no_files(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise ValueError("cannot be saved")

    monkeypatch.setattr(pricing, "TURNS", 1)
    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", refused)
    found = priced("bert-bfloat16-sdpa-nf4-prefill", cache, lambda: 0.0)
    assert found.own.disk_bytes is None


def test_a_price_that_cannot_be_told_is_none_and_what_it_changed_is_put_back(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> Price:
        torch.set_default_dtype(torch.float16)
        raise RuntimeError("out of memory, with two of them")

    monkeypatch.setattr(pricing, "price", fails)
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache)
    assert bench.price(parse_cell(STATIC)) is None
    assert torch.get_default_dtype() is torch.float32
