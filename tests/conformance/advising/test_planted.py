"""What is said of configurations that were spoiled."""

import pytest

from matrix.advice.search import State
from reports.advice import Advice
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
