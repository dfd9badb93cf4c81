"""What waits with its model goes only where its memory is needed."""

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.advising.processes import Processes
from matrix.advice.search import Failed, State

SHORT = Failed(State.OUT_OF_MEMORY, "asked for 2 GiB")


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two that wait, of which the first has waited longer, in a room for 100 bytes; nothing is started."""
    made: Any = Processes.__new__(Processes)
    made._room = 100
    made._waiting = {name: SimpleNamespace(held=40, used=float(at)) for at, name in enumerate(("old", "new"))}
    monkeypatch.setattr(made, "end", lambda key: made._waiting.pop(key, None))
    return made


@pytest.mark.parametrize(("needed", "left"), [(10.0, {"old", "new"}), (50.0, {"new"}), (90.0, set()), (inf, set())])
def test_as_many_go_as_are_in_the_way(processes: Any, needed: float, left: set[str]) -> None:
    processes._once = lambda *_, **__: None
    processes.once("look", SimpleNamespace(key="mine"), seconds=1.0, needed=needed)
    assert set(processes._waiting) == left


@pytest.mark.parametrize(("answers", "tries"), [([SHORT, None], 2), ([None], 1), ([SHORT, SHORT], 2)])
def test_what_was_too_little_is_tried_again_alone(processes: Any, answers: list[Any], tries: int) -> None:
    asked, last = [], answers[-1]

    def once(*_: object, **__: object) -> Any:
        asked.append(set(processes._waiting))
        return answers.pop(0)

    processes._once = once
    assert processes.once("look", SimpleNamespace(key="mine"), seconds=1.0, needed=10.0) == last
    assert asked == [{"old", "new"}, set()][:tries]
