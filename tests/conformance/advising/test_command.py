"""Advice from end to end, on a model that takes no time."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from conformance.advising.command import Advising, Asked, _Trials, advise, check
from conformance.advising.journal import Journal
from conformance.advising.task import truth_of
from matrix.advice.search import Failed, Finding, Found, Known, Sample, State
from matrix.advice.space import Configuration
from matrix.cell import parse_cell
from matrix.errors import UsageError
from reports.advice import Advice, read_advice
from tests.builders import make_stack
from tests.conformance.advising.conftest import CELLS, WANTED
from tests.matrix.advice.table import model_of


def test_the_call_that_is_advised_runs(advice: Advice) -> None:
    assert advice.advised is not None
    names: dict[str, object] = {}
    exec(compile(advice.advised.call, "pasted", "exec"), names)
    output = names["output"]
    assert isinstance(output, torch.Tensor)
    assert output.shape == (1, 16 + WANTED.new)


def test_the_answer_is_kept_as_a_document_and_a_page(advice: Advice, asked: Asked) -> None:
    assert asked.output is not None
    assert read_advice(asked.output / "advice.json") == advice
    page = (asked.output / "index.html").read_text(encoding="utf-8")
    assert advice.advised is not None
    assert advice.advised.name in page
    assert "not here: needs flash-attn" in page
    entry = advice.entries[0]
    assert (entry.name, entry.state) == (advice.advised.name, State.RIGHT)
    assert entry.ratio is not None
    assert entry.ratio <= 1
    assert entry.figures[0].peak > (entry.weight_bytes or 0) > 0


def test_the_same_command_goes_on_with_what_was_measured(advice: Advice, asked: Asked) -> None:
    assert asked.output is not None
    kept = (asked.output / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    said: list[str] = []
    again = advise(asked, said.append)
    assert any("measurements of an earlier call" in line for line in said)
    lines = (asked.output / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines[: len(kept)] == kept
    first = {entry.name: entry for entry in advice.entries}
    for entry in again.entries:
        assert entry.state is first[entry.name].state
        assert entry.load_seconds == first[entry.name].load_seconds


def test_a_call_that_goes_on_has_what_the_first_has_left_of_its_minutes(
    advice: Advice, asked: Asked, tmp_path: Path
) -> None:
    assert asked.output is not None
    facts, first, *_ = (asked.output / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    spent = json.dumps({**json.loads(first), "spent": 61.0})
    (tmp_path / "journal.jsonl").write_text(f"{facts}\n{spent}\n", encoding="utf-8")
    again = advise(replace(asked, output=tmp_path), lambda line: None)
    reached = {entry.name for entry in again.entries if entry.state is not State.NOT_REACHED}
    assert reached == {json.loads(first)["asked"].removeprefix("judge "), again.model.default}
    assert len(again.entries) > len(reached)


@pytest.mark.parametrize(("answered", "left"), [(False, 0.25), (True, 0.5)])
def test_what_came_before_the_first_question_is_part_of_the_minutes(
    tmp_path: Path, answered: bool, left: float
) -> None:
    """Of a call that begins; one that goes on has its weights to make again, and begins where the last one ended."""
    journal, now = Journal(tmp_path, {}), time.monotonic()
    if answered:
        journal.keep("judge another", Finding(State.RIGHT), 30.0)
    advising = SimpleNamespace(asked=SimpleNamespace(minutes=1.0), began=now - 45.0)
    trials: Any = _Trials(advising, None, journal, None, None, "", tmp_path)  # type: ignore[arg-type]
    assert trials._known("judge one") is None
    assert trials.left() == pytest.approx(left, abs=0.02)


@pytest.mark.parametrize(("folder", "name"), [("Llama-3.2", "Llama-3.2"), ("a\\b", "a-b"), ("...", "mine")])
def test_a_model_is_named_so_that_its_document_can_be_read_again(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "config.json").write_text("{}", encoding="utf-8")
    for path in (tmp_path / folder, tmp_path / folder / "config.json"):
        assert Advising(Asked(path, WANTED, 1.0, tmp_path), print).name == name


@pytest.mark.parametrize(
    ("by_generate", "there", "made"), [(True, False, ["make_reference"]), (True, True, []), (False, False, [])]
)
@pytest.mark.parametrize("fails", [False, True])
def test_what_was_judged_by_an_earlier_call_is_timed_with_a_truth_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_generate: bool, there: bool, made: list[str], fails: bool
) -> None:
    """What generate compiles is judged once more, in a process that knows of no judgement before it.

    A truth that the earlier call has made is taken.
    """
    one = Configuration(parse_cell("llama-float32-sdpa-left-generate"), by_generate)
    journal, asked = Journal(tmp_path, {}), []
    sample = Sample(first=1.0, whole=2.0, new=4, peak=1)

    def once(what: str, *_: object, **__: object) -> Failed | None:
        asked.append(what)
        return Failed(State.OUT_OF_MEMORY, "no room") if fails else None

    def ask(task: object, name: str, *_: object, seconds: float) -> Sample:
        asked.append(name)
        return sample

    journal.keep(f"judge {one.name}", Finding(State.RIGHT), 1.0)
    advising = SimpleNamespace(
        asked=SimpleNamespace(minutes=1.0, beside=1), stack=make_stack(), began=time.monotonic(), say=lambda line: None
    )
    model, processes = model_of(), SimpleNamespace(once=once, ask=ask)
    trials: Any = _Trials(advising, processes, journal, model, WANTED, "", tmp_path)  # type: ignore[arg-type]
    monkeypatch.setattr(trials, "_task", lambda one: SimpleNamespace(references=str(tmp_path)))
    if there:
        truth_of(str(tmp_path), one.cell).touch()
    assert trials.judge(one).state is State.RIGHT
    found = trials.time(one, 1, 4, 0)
    if made and fails:
        assert found == Failed(State.NOT_JUDGED, "the truth for it could not be made: no room")
        assert asked == made
    else:
        assert found == sample
        assert asked == [*made, "time"]
        assert trials.time(one, 1, 4, 1) == sample
        assert asked == [*made, "time", "time"]


@pytest.mark.parametrize(("spent", "patience"), [(60.0, 12.0), (73.0, None)])
def test_places_are_looked_for_as_long_as_their_share_of_the_minutes_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spent: float, patience: float | None
) -> None:
    one = Configuration(parse_cell("llama-float32-sdpa-left-generate"))
    journal, asked = Journal(tmp_path, {}), []

    def once(what: str, *_: object, seconds: float) -> str:
        asked.append(seconds)
        return "begins in its first layer"

    journal.keep(f"judge {one.name}", Finding(State.WRONG, "off"), spent)
    advising = SimpleNamespace(asked=SimpleNamespace(minutes=1.0), say=lambda line: None)
    trials: Any = _Trials(advising, SimpleNamespace(once=once), journal, None, None, "", tmp_path)  # type: ignore[arg-type]
    monkeypatch.setattr(trials, "_task", lambda one: None)
    found = Found({one: Known(trials.judge(one))})
    trials.explain(found)
    assert [round(seconds) for seconds in asked] == ([] if patience is None else [patience])
    assert ("first layer" in found.known[one].finding.why) is (patience is not None)


def test_what_is_measured_of_something_else_is_not_gone_on_with(advice: Advice, asked: Asked) -> None:
    with pytest.raises(UsageError, match="another options: name another with -o"):
        advise(replace(asked, wanted=replace(WANTED, new=5)), lambda line: None)


def test_what_was_advised_and_is_wrong_by_now_does_not_hold(advice: Advice, asked: Asked, tmp_path: Path) -> None:
    assert asked.output is not None
    assert advice.advised is not None
    name = advice.advised.name
    file = tmp_path / "before.json"
    file.write_text(advice.model_dump_json(), encoding="utf-8")
    said: list[str] = []
    spoiled = replace(asked, output=tmp_path / "out", faults={name: "layer_repeated"})
    held, now = check(spoiled, file, said.append)
    assert not held
    assert said[-1].startswith(f"does not hold: {name} was advised")
    entry = next(one for one in now.entries if one.name == name)
    assert entry.state is State.WRONG
    assert not entry.figures, "what is wrong is not timed"
    assert "begins in model.layers." in entry.why_not
    assert now.advised is None or now.advised.name != name


def test_a_config_alone_is_advised_on_and_said_to_be(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    shutil.copy(checkpoint / "config.json", tmp_path / "shapes")
    asked = Asked(tmp_path / "shapes" / "config.json", replace(WANTED, prompt=100), 1.0, tmp_path / "out", CELLS)
    advice = advise(asked, lambda line: None)
    assert not advice.model.real
    assert any("weights are generated" in note for note in advice.notes)
    assert any("beyond its 64 positions" in note for note in advice.notes)
    assert advice.asked.prompt == 56
    assert advice.advised is not None


@pytest.mark.parametrize("auto_class", ["BertModel", "BertForMaskedLM"])
def test_what_a_pooler_makes_is_said_to_be_held_against_nothing(tmp_path: Path, auto_class: str) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(architectures=[auto_class], vocab_size=64, max_position_embeddings=64, **sizes)
    config.save_pretrained(tmp_path / "shapes")
    asked = Asked(tmp_path / "shapes" / "config.json", replace(WANTED, prompt=8), 1.0, tmp_path / "out", CELLS)
    advice = advise(asked, lambda line: None)
    assert any("pooler" in note for note in advice.notes) is (auto_class == "BertModel")


@pytest.mark.parametrize(("content", "words"), [(None, "neither"), ("{", "not valid JSON")])
def test_a_folder_that_tells_nothing_is_refused(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        advise(Asked(tmp_path, WANTED, 1.0, tmp_path / "out"), lambda line: None)
