"""A process asks for its GPU once, early where it can; what is measured again is measured as long as there is time."""

import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance import bench
from conformance.plugin.clock import Clock
from conformance.plugin.collection import CellItem
from conformance.plugin.measuring import Measure, _Seen
from conformance.plugin.turnstile import SharedMemory, Turnstile
from matrix import memory
from matrix.cell import Cell, parse_cell
from matrix.observation import Ending, Observation, Price, Side
from matrix.stack import Device
from matrix.verdict import Judgement, Verdict
from reports.document import Record
from tests.builders import ARCHITECTURES, completed, make_stack


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
    names = ("fixture_cache", "checkpoints", "trust_remote_code", "fault", "seed", "dials", "architectures")
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


CELL, OTHER = parse_cell("gpt2-float32-eager-prefill"), parse_cell("gpt2-float32-sdpa-prefill")


def seen(verdict: Verdict) -> _Seen:
    return _Seen(Observation(Ending.NOT_RUN), Judgement(verdict, "why"))


def measuring(workers: int, folder: Path, parameters: int = 10**9) -> Measure:
    """One of so many workers, on a CPU, with a checkpoint of so many parameters."""
    settings: Any = SimpleNamespace(
        stack=make_stack(),
        rules=(),
        waivers=(),
        architectures=ARCHITECTURES,
        parameters={"gpt2": parameters},
        cell_timeout=300.0,
    )
    made = Measure(settings, Clock())
    made._shared = SharedMemory(Turnstile(folder, "host"), None, workers - 1, workers - 1)
    return made


@pytest.mark.parametrize(("workers", "verdict"), [(2, Verdict.SUPPORTED), (1, Verdict.UNAVAILABLE)])
def test_a_checkpoint_that_others_leave_no_memory_for_is_asked_again_once_they_are_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, verdict: Verdict
) -> None:
    measure, free = measuring(workers, tmp_path), iter([10**9, 10**12])
    monkeypatch.setattr(memory, "free_bytes", lambda: next(free))
    monkeypatch.setattr(measure, "_alone", lambda cell, after: completed(cell))
    first = measure._here(CELL)
    assert first.verdict is Verdict.UNAVAILABLE
    assert measure._settled(CELL, first, died=False).verdict is verdict


def test_a_checkpoint_that_fits_nowhere_stays_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = measuring(2, tmp_path)
    monkeypatch.setattr(memory, "free_bytes", lambda: 10**9)
    settled = measure._settled(CELL, measure._here(CELL), died=False)
    assert settled.verdict is Verdict.UNAVAILABLE
    assert "GiB of memory" in settled.judgement.reason


PRICE = Price("cache", "gpt2-float32-eager-generate", "token", Side((1.0,)), Side((1.0,)))
STATIC = "gpt2-float32-eager-static-generate"


@pytest.mark.parametrize(
    ("cell_id", "verdict", "asked", "priced"),
    [
        (STATIC, Verdict.SUPPORTED, True, True),
        (STATIC, Verdict.SUPPORTED, False, False),
        (STATIC, Verdict.SUBSTITUTED, True, False),
        (CELL.id, Verdict.SUPPORTED, True, False),  # which has nothing that it could be held without
    ],
)
def test_right_cells_are_priced_where_that_is_asked_for(
    tmp_path: Path, cell_id: str, verdict: Verdict, asked: bool, priced: bool
) -> None:
    measure, cell, known = measuring(1, tmp_path), parse_cell(cell_id), []
    vars(measure._settings).update(costs=asked, seed=0, required=())
    seen = _Seen(completed(cell), Judgement(verdict, "why"))
    measure._here = lambda cell: seen  # type: ignore[method-assign]
    measure._settled = lambda *args, **kwargs: seen  # type: ignore[method-assign]

    def price(cell: Cell) -> Price:
        known.append(Record.model_validate_json(measure._known))
        return PRICE

    bench: Any = SimpleNamespace(price=price)
    measure._bench = bench
    record = measure(cell)
    assert record.observation.price == (PRICE if priced else None)
    assert Record.model_validate_json(measure.take_record() or "") == record
    # Who dies on the way is known to have been right.
    assert [(one.cell, one.verdict, one.observation.price) for one in known] == [(cell_id, verdict, None)] * priced


def test_of_predecessors_whose_replay_runs_out_of_time_none_is_accused(tmp_path: Path) -> None:
    measure = measuring(1, tmp_path)
    measure._measured.extend([(OTHER, 1.0), (CELL, 1.0)])
    measure._count = 2
    asked: list[Sequence[Cell]] = []

    def afresh(cell: Cell, after: Sequence[Cell] = ()) -> _Seen:
        asked.append(after)
        return seen(Verdict.TIMEOUT if after else Verdict.SUPPORTED)

    measure._afresh = afresh  # type: ignore[method-assign]
    measure._here = lambda cell: seen(Verdict.SUPPORTED)  # type: ignore[method-assign]
    settled = measure._settled(CELL, seen(Verdict.INACCURATE), died=False)
    assert settled.verdict is Verdict.FLAKY
    assert OTHER.id not in settled.judgement.reason
    assert [list(after) for after in asked] == [[], [], [OTHER]]


def test_predecessors_that_took_longer_than_a_cell_may_are_not_replayed(tmp_path: Path) -> None:
    measure = measuring(1, tmp_path)
    measure._measured.extend([(OTHER, 301.0), (CELL, 1.0)])
    assert measure._in_their_wake(CELL, Verdict.INACCURATE, Verdict.SUPPORTED) == ((), False)


def test_of_a_known_fault_nobody_lays_out_a_traceback() -> None:
    with pytest.raises(pytest.xfail.Exception) as raised:
        pytest.xfail("inaccurate, waived: known")
    item = CellItem.__new__(CellItem)  # which knows of no config, as a traceback would ask
    assert item.repr_failure(raised) == "inaccurate, waived: known"
