"""What is said of configurations that were spoiled."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from conformance.advising.command import Asked
from matrix.advice.search import State
from reports.advice import Advice
from tests import planted_advice
from tests.planted_advice import became, first_ones
from tests.reports.test_advice import FALSE, advised


def changed(advice: Advice, name: str, **parts: object) -> Advice:
    entries = [one.model_copy(update=parts) if one.name == name else one for one in advice.entries]
    return advice.model_copy(update={"entries": entries, "advised": None})


def test_what_was_advised_comes_first_and_what_is_wrong_never_does() -> None:
    advice = advised()
    assert advice.advised is not None
    assert first_ones(advice, 3)[0] == advice.advised.name
    assert len(first_ones(advice, 3)) == 3
    assert FALSE not in first_ones(advice, 99)


@pytest.mark.parametrize(
    ("state", "figures", "said"),
    [
        (State.WRONG, False, "wrong"),
        (State.WRONG, True, "TIMED"),
        (State.RIGHT, True, "TIMED"),
        (State.RIGHT, False, "NOT WRONG, but right"),
        (State.SUBSTITUTED, False, "NOT WRONG, but substituted"),
        (State.NOT_REACHED, False, "not told"),
    ],
)
def test_only_what_is_found_wrong_and_never_timed_is_as_it_must_be(state: State, figures: bool, said: str) -> None:
    advice = advised()
    name = first_ones(advice, 1)[0]
    now = changed(advice, name, state=state, **({} if figures else {"figures": []}))
    assert became({name: "layer_repeated"}, now) == {name: said}


def test_what_is_advised_all_the_same_is_said_so_and_what_is_not_there_tells_nothing() -> None:
    advice = advised()
    name = first_ones(advice, 1)[0]
    assert became({name: "layer_repeated", "another": "layer_repeated"}, advice) == {
        name: "ADVISED",
        "another": "not told",
    }


@pytest.mark.parametrize(
    ("became", "status"),
    [
        ({0: (State.WRONG, False), 1: (State.WRONG, False)}, 0),
        ({0: (State.WRONG, False), 1: (State.NOT_REACHED, False)}, 0),
        ({0: (State.WRONG, False), 1: (State.RIGHT, True)}, 1),
        ({0: (State.NOT_REACHED, False), 1: (State.NOT_REACHED, False)}, 1),
    ],
)
def test_the_command_ends_with_0_where_some_are_wrong_and_none_is_timed(
    became: Mapping[int, tuple[State, bool]], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that came first are what is spoiled, and nothing else."""
    before = advised()
    file = tmp_path / "advice.json"
    file.write_text(before.model_dump_json(), encoding="utf-8")

    def asked_again(asked: Asked, say: object) -> Advice:
        names = first_ones(before, 2)
        assert list(asked.faults) == names
        now = before
        for place, (state, figures) in became.items():
            now = changed(now, names[place], state=state, **({} if figures else {"figures": []}))
        return now

    monkeypatch.setattr(planted_advice, "advise", asked_again)
    assert planted_advice.main([str(file), "--most", "2", "-o", str(tmp_path)]) == status
