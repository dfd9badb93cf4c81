"""What an advice is held against: the same call by hand, and everything that was tried."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.advising import beside
from conformance.advising.beside import Agreement, agreement_lines, held, loop
from conformance.advising.command import Asked
from matrix.advice.noise import gain
from matrix.advice.search import Finding, Found, Known, Sample, State
from matrix.advice.space import Configuration, plain_cell
from matrix.advice.wanted import Prefer, Wanted
from matrix.errors import UsageError
from reports.advice import Advice, read_advice
from tests.matrix.advice.table import model_of

MODEL = model_of()


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


def table(seconds: Mapping[str, Mapping[int, float]]) -> Found:
    """As if these had taken so long in those rounds."""
    known = {}
    for name, rounds in seconds.items():
        one = Configuration(plain_cell(MODEL.architecture, *name.split("-")))
        samples = {turn: Sample(first=0.0, whole=whole, new=0, peak=1) for turn, whole in rounds.items()}
        known[one] = Known(Finding(State.RIGHT), final={1: samples})
    return Found(known)


def test_the_advised_is_held_against_the_best_by_the_rounds_that_both_had_with_the_first() -> None:
    """The machine is slower in the last rounds, which makes nothing of what ran in them worse."""
    first, slower, best = "bfloat16-sdpa", "bfloat16-eager", "float16-sdpa"
    found = table({first: {0: 1.0, 1: 1.0, 2: 5.0, 3: 5.0}, slower: {0: 1.2, 1: 1.2}, best: {2: 4.0, 3: 4.0}})
    wanted = Wanted(new=0, batches=(1,))
    behind = held(first, wanted, found, MODEL)
    assert (behind.ratio, behind.best, behind.measured) == (pytest.approx(1.25), best, 3)
    assert held(slower, wanted, found, MODEL).ratio == pytest.approx(1.5)
    assert held(best, wanted, found, MODEL).ratio == 1
    with pytest.raises(UsageError, match="float32-sdpa: was advised, and is not among"):
        held("float32-sdpa", wanted, found, MODEL)


def test_everything_that_may_be_right_is_measured(advice: Advice, asked: Asked, tmp_path: Path) -> None:
    assert advice.advised is not None
    wide = advice.model_copy(update={"asked": advice.asked.model_copy(update={"prefer": Prefer.THROUGHPUT})})
    everything = beside.all_of(replace(asked, output=tmp_path / "out"), [advice, wide], 2)
    right = [entry.name for entry in advice.entries if entry.state == "right"]
    assert sorted(entry.name for entry in everything.entries if entry.figures) == sorted(right)
    assert all(one.rounds >= 2 and one.final for entry in everything.entries for one in entry.figures)
    assert [(one.advised, one.prefer, one.measured) for one in everything.held] == [
        (advice.advised.name, prefer, len(right)) for prefer in (Prefer.LATENCY, Prefer.THROUGHPUT)
    ]
    assert all(one.ratio >= 1 for one in everything.held)
    assert read_advice(tmp_path / "out" / "advice.json").held == everything.held


def test_only_advice_of_one_thing_is_measured_together(advice: Advice, asked: Asked) -> None:
    other = advice.model_copy(update={"asked": advice.asked.model_copy(update={"prompt": 5})})
    with pytest.raises(UsageError, match="of other models, prompts or batches"):
        beside.all_of(asked, [advice, other], 2)
    with pytest.raises(UsageError, match="nothing is advised"):
        beside.all_of(asked, [advice.model_copy(update={"advised": None})], 2)


def test_what_was_advised_and_cannot_be_measured_is_named(advice: Advice, asked: Asked, tmp_path: Path) -> None:
    assert advice.advised is not None
    renamed = advice.model_copy(update={"advised": advice.advised.model_copy(update={"name": "another"})})
    with pytest.raises(UsageError, match="tiny: another was advised, and cannot be measured here"):
        beside.all_of(replace(asked, output=tmp_path / "out"), [renamed], 2)


def test_what_was_measured_of_other_configurations_or_in_other_rounds_is_not_gone_on_with(
    advice: Advice, asked: Asked, tmp_path: Path
) -> None:
    """A round is known by its place among all of them: what did not meet would be paired."""
    asked = replace(asked, output=tmp_path / "out")
    beside.all_of(asked, [advice], 2)
    fewer = advice.model_copy(update={"entries": advice.entries[:-1]})
    for others, rounds in (([fewer], 2), ([advice], 3)):
        with pytest.raises(UsageError, match="holds measurements with another what is checked"):
            beside.all_of(asked, others, rounds)
