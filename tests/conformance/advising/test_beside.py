"""What an advice is held against: the same call by hand, and everything that was tried."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.advising import beside
from conformance.advising.beside import Agreement, agreement_lines, behind_the_best, loop
from conformance.advising.command import Asked
from matrix.advice.noise import gain
from matrix.errors import UsageError
from reports.advice import Advice, Figures


def test_the_pasted_call_is_timed_by_hand_with_as_many_tokens(advice: Advice, asked: Asked, tmp_path: Path) -> None:
    agreements = beside.by_hand(replace(asked, output=tmp_path / "out"), advice, 2)
    assert [(one.rows, one.what, one.found.rounds) for one in agreements] == [
        (1, "the whole", 2),
        (1, "the first token", 2),
    ]


def test_a_loop_that_fails_says_what_it_said(advice: Advice) -> None:
    assert advice.advised is not None
    broken = loop(advice.advised.call.replace("model.generate", "model.degenerate"), 4, 2)
    with beside._looping(broken) as ask, pytest.raises(UsageError, match=r"ended: AttributeError: .*degenerate"):
        ask(1)


def test_what_nobody_can_load_by_hand_is_not_tried(advice: Advice, asked: Asked) -> None:
    generated = advice.model_copy(update={"model": advice.model.model_copy(update={"real": False})})
    with pytest.raises(UsageError, match="weights that somebody could load by hand"):
        beside.by_hand(asked, generated, 2)


def test_what_a_processor_makes_is_not_made_by_hand(advice: Advice, asked: Asked) -> None:
    assert advice.advised is not None
    pictures = advice.advised.model_copy(update={"call": "inputs = ...  # what its processor makes of yours"})
    with pytest.raises(UsageError, match="made by a processor"):
        beside.by_hand(asked, advice.model_copy(update={"advised": pictures}), 2)


@pytest.mark.parametrize(("factor", "last"), [(1.0, "the figures agree"), (1.2, "the figures do not agree")])
def test_figures_agree_that_differ_by_noise_alone(factor: float, last: str) -> None:
    ours = {0: 1.0, 1: 1.02, 2: 0.99, 3: 1.01}
    theirs = {0: 1.01 * factor, 1: 1.01 * factor, 2: 1.0 * factor, 3: 0.99 * factor}
    found = gain(ours, theirs)
    assert found is not None
    first, end = agreement_lines([Agreement(1, "the whole", 1.0, found)])
    assert end == last
    assert ("NOT alike" in first) is (factor > 1)


def measured(advice: Advice, seconds: Mapping[str, float]) -> Advice:
    """The advice as if these had taken so long, all of them on the front but the first."""
    figures = Figures(rows=1, first=0.1, by_token=0.1, whole=1.0, per_second=1.0, peak=1, rounds=3, final=True)
    entries = [
        advice.entries[0].model_copy(
            update={"name": name, "front": number > 0, "figures": [figures.model_copy(update={"whole": whole})]}
        )
        for number, (name, whole) in enumerate(seconds.items())
    ]
    return advice.model_copy(update={"entries": entries})


def test_the_advised_is_held_against_the_best(advice: Advice) -> None:
    ratio, best = behind_the_best("a", measured(advice, {"a": 1.1, "b": 1.0, "c": 2.0}))
    assert (ratio, best) == (pytest.approx(1.1), "b")
    assert behind_the_best("b", measured(advice, {"a": 1.1, "b": 1.0, "c": 2.0})) == (1.0, "b")
    with pytest.raises(UsageError, match="d: was advised, and is not among"):
        behind_the_best("d", measured(advice, {"a": 1.1, "b": 1.0}))


def test_everything_that_may_be_right_is_measured(advice: Advice, asked: Asked, tmp_path: Path) -> None:
    everything = beside.all_of(replace(asked, output=tmp_path / "out"), advice, 2)
    right = [entry.name for entry in advice.entries if entry.state == "right"]
    assert sorted(entry.name for entry in everything.entries if entry.figures) == sorted(right)
    assert all(one.rounds == 2 and one.final for entry in everything.entries for one in entry.figures)
    assert advice.advised is not None
    assert behind_the_best(advice.advised.name, everything)[0] >= 1
