"""A process asks for its GPU once, early where it can."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from conformance import bench
from conformance.plugin.clock import Clock
from conformance.plugin.measuring import Measure
from matrix.stack import Device
from tests.builders import make_stack


class Played:
    """A bench, of which it is counted how often one is made."""

    made: list[str]
    fails = False

    def __init__(self, **given: Any) -> None:
        self.made.append(threading.current_thread().name)
        if self.fails:
            raise RuntimeError("no GPU for you")


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """One on a GPU that is played."""
    monkeypatch.setattr(Played, "made", [], raising=False)
    monkeypatch.setattr(bench, "Bench", Played)
    stack = SimpleNamespace(device=Device.CUDA)
    names = ("fixture_cache", "checkpoints", "trust_remote_code", "fault", "seed", "architectures")
    settings: Any = SimpleNamespace(stack=stack, **dict.fromkeys(names))
    return Measure(settings, Clock())


def wait() -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon and "ask" in thread.name:
            thread.join()


def test_who_has_asked_early_does_not_ask_again(measure: Measure) -> None:
    measure.ask_for_gpu()
    wait()
    assert measure._warm_bench() is measure._warm_bench()
    assert len(Played.made) == 1
    assert Played.made[0] != threading.current_thread().name


def test_what_failed_early_fails_again_where_somebody_hears(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Played, "fails", True)
    measure.ask_for_gpu()
    wait()
    with pytest.raises(RuntimeError, match="no GPU for you"):
        measure._warm_bench()
    assert len(Played.made) == 2


def test_without_a_gpu_nobody_asks(measure: Measure) -> None:
    measure._settings.stack = make_stack()  # type: ignore[misc]
    measure.ask_for_gpu()
    wait()
    assert Played.made == []
