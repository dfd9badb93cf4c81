"""Memory that workers share: side by side, or one alone, who is not kept waiting by those who come later."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.plugin.turnstile import SharedMemory, Turnstile, _passed

PATIENCE = 60.0  # seconds, where something would be wrong if they passed


class Passing(threading.Thread):
    """Somebody who passes, as another process would, and stays until it is let go."""

    def __init__(self, folder: Path, *, alone: bool) -> None:
        super().__init__(daemon=True)
        self.inside, self.may_go, self.gave_back = threading.Event(), threading.Event(), threading.Event()
        self._turnstile, self._alone = Turnstile(folder, "gpu"), alone
        self.start()

    def run(self) -> None:
        with self._turnstile.alone() if self._alone else self._turnstile.beside(self.gave_back.set):
            self.inside.set()
            self.may_go.wait(PATIENCE)

    def leave(self) -> None:
        self.may_go.set()
        self.join(PATIENCE)


@pytest.fixture
def passing(tmp_path: Path) -> Callable[..., Passing]:
    return lambda *, alone=False: Passing(tmp_path, alone=alone)


def test_many_pass_side_by_side_and_give_nothing_back(passing: Callable[..., Passing]) -> None:
    several = [passing() for _ in range(3)]
    assert all(one.inside.wait(PATIENCE) for one in several)
    for one in several:
        one.leave()
    assert not any(one.gave_back.is_set() for one in several)


def test_who_is_alone_waits_for_those_inside_and_those_who_come_later_wait_for_it(
    passing: Callable[..., Passing], tmp_path: Path
) -> None:
    inside = passing()
    assert inside.inside.wait(PATIENCE)
    alone = passing(alone=True)
    while not _is_held(tmp_path):  # until it stands at the gate
        pass
    later = passing()
    assert later.gave_back.wait(PATIENCE), "who has to wait gives back what it can"
    assert not alone.inside.is_set()
    inside.leave()
    assert inside.gave_back.is_set(), "who leaves gives back what it can to whoever waits"
    assert alone.inside.wait(PATIENCE)
    assert not later.inside.is_set()
    alone.leave()
    assert later.inside.wait(PATIENCE)
    later.leave()


def _is_held(folder: Path) -> bool:
    gate, room = Turnstile(folder, "gpu")._files()
    held = not _passed(gate)
    for lock in (gate, room):
        lock.close()
    return held


def test_what_is_raised_within_opens_it_again(passing: Callable[..., Passing], tmp_path: Path) -> None:
    def fail(turnstile: Turnstile, *, alone: bool) -> None:
        with turnstile.alone() if alone else turnstile.beside(lambda: None):
            raise ValueError("within")

    for alone in (True, False):
        with pytest.raises(ValueError, match="within"):
            fail(Turnstile(tmp_path, "gpu"), alone=alone)
        after = passing(alone=not alone)
        assert after.inside.wait(PATIENCE)
        after.leave()


@pytest.mark.parametrize(
    ("gpus", "on_host", "others"), [(0, True, 7), (0, False, 7), (2, True, 7), (2, False, 3), (3, False, 2)]
)
def test_with_how_many_a_worker_shares(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: int, on_host: bool, others: int
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "8")
    assert SharedMemory.of_worker(tmp_path, gpus).others(on_host=on_host) == others


@pytest.mark.parametrize(
    ("gpus", "on_host", "waits"),
    [(0, False, True), (1, True, True), (1, False, True), (2, True, True), (2, False, False)],
)
def test_the_host_is_of_all_and_a_gpu_of_its_own_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: int, on_host: bool, waits: bool
) -> None:
    """One worker on the first GPU is alone; another, on the last, comes."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    first = SharedMemory.of_worker(tmp_path, gpus)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(max(0, gpus - 1)))
    second, waited, through = SharedMemory.of_worker(tmp_path, gpus), threading.Event(), threading.Event()

    def come() -> None:
        with second.beside(waited.set):
            through.set()

    with first.alone(on_host=on_host, give_back=lambda: None):
        coming = threading.Thread(target=come, daemon=True)
        coming.start()
        assert (waited if waits else through).wait(PATIENCE)
        assert through.is_set() is not waits
    assert through.wait(PATIENCE)


def test_whoever_is_alone_gives_its_own_back_once_it_is(tmp_path: Path) -> None:
    given: list[bool] = []
    with SharedMemory.of_worker(tmp_path, 0).alone(on_host=True, give_back=lambda: given.append(True)):
        assert given == [True]
    with SharedMemory().alone(on_host=False, give_back=lambda: given.append(True)):
        assert len(given) == 2, "without workers there is nobody to wait for, but its own"
