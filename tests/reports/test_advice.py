"""Advice as a document, as lines and as a page."""

from pathlib import Path

import pytest

from matrix.advice.call import Paste
from matrix.advice.search import Failed, State, search
from matrix.advice.wanted import Prefer, Wanted
from matrix.errors import UsageError
from matrix.stack import Device
from reports.advice import Advice, Held, Subject, advice_lines, advice_of, differing, fell, holds, read_advice
from reports.differences import Aspect, Kind
from reports.html import render_advice
from tests.matrix.advice.table import RULES, STACK, Table, model_of

QUICK, FALSE = "bfloat16-flash_attention_2", "bfloat16-sdpa-mem_efficient"
TIMES = {QUICK: 0.01, FALSE: 0.001, "bfloat16-eager": 0.04}


def advised(prefer: Prefer = Prefer.LATENCY, **changes: object) -> Advice:
    model, wanted = model_of(), Wanted(prefer=prefer)
    table = Table(lambda one: TIMES.get(one.name, 0.02), wrong={FALSE}, noise=0.01, **changes)  # type: ignore[arg-type]
    found = search(model, wanted, STACK, RULES, table)
    subject = Subject(
        name="<b>mine<b>",
        path="/models/mine",
        model_type="llama",
        auto_class="AutoModelForCausalLM",
        parameters=10**9,
        real=True,
        default=model.default.name,
        disk_bytes=2 * 10**9,
    )
    paste = Paste("/models/mine", Device.CUDA, True, wanted.new, 256)
    return advice_of(found, model, wanted, STACK, subject, paste, ["a note"], 60.0)


def test_a_document_survives_a_file(tmp_path: Path) -> None:
    advice = advised()
    file = tmp_path / "advice.json"
    file.write_text(advice.model_dump_json(), encoding="utf-8")
    assert read_advice(file) == advice


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "gate"}'])
def test_what_is_no_advice_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "advice.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="is no advice"):
        read_advice(file)


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "/tmp", "a/../../b", "a\\b", "a\x00b"])
def test_a_model_is_called_so_that_its_folder_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    """What is measured of it goes to a folder of that name, whoever wrote the document."""
    file, advice = tmp_path / "advice.json", advised()
    file.write_text(
        advice.model_copy(update={"model": advice.model.model_copy(update={"name": name})}).model_dump_json(),
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match=r"is no advice: model\.name: "):
        read_advice(file)


def test_advice_of_another_schema_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "advice.json"
    file.write_text(advised().model_copy(update={"schema_version": "2.0"}).model_dump_json(), encoding="utf-8")
    with pytest.raises(UsageError, match="another version"):
        read_advice(file)


def test_the_answer_comes_first_with_what_it_gains() -> None:
    lines = list(advice_lines(advised()))
    assert lines[0] == f"<b>mine<b> on NVIDIA H100: run {QUICK}"
    gained = [line for line in lines if " times as fast as " in line]
    assert float(gained[0].partition(" ")[0]) == pytest.approx(2, abs=0.1)
    assert "as fast as what the library does by itself (bfloat16-sdpa) (" in gained[0]
    assert float(gained[1].partition(" ")[0]) == pytest.approx(4, abs=0.2)
    assert "as fast as eager attention in the same dtype (" in gained[1]
    (false,) = (line for line in lines if f" {FALSE}:" in line)
    assert false == f"  {FALSE}: wrong: max error 9 exceeds 1"
    assert any(line.startswith("not here: needs flash-attn-3: ") for line in lines)


def test_the_page_says_what_it_was_held_against() -> None:
    held = [
        Held(prefer=Prefer.LATENCY, advised="a", ratio=1.0, best="a", measured=3),
        Held(prefer=Prefer.THROUGHPUT, advised="a", ratio=1.0312, best="<b>", measured=3),
    ]
    page = render_advice(advised().model_copy(update={"held": held}))
    assert "latency: a was advised, and is the best of all 3 that are right." in page
    assert "throughput: a was advised, and costs 1.031 times the best of all 3 that are right, &lt;b&gt;." in page
    assert "Held against" not in render_advice(advised())


def test_the_page_has_the_answer_the_picture_and_why_not_and_nothing_in_it_is_markup() -> None:
    page = render_advice(advised())
    assert "<b>mine<b>" not in page
    assert "&lt;b&gt;mine" in page
    assert page.count('<circle class="advised"') == 1
    assert f"<title>{QUICK}: advised</title>" in page
    assert "wrong: max error 9 exceeds 1" in page
    assert '<circle class="bits' in page
    assert f"<title>{FALSE}" not in page, "what is wrong is not timed, and has no place in the picture"


@pytest.mark.parametrize(
    ("prefer", "said"), [(Prefer.LATENCY, "milliseconds for 1 row;"), (Prefer.THROUGHPUT, "milliseconds for 8 rows;")]
)
def test_the_picture_is_of_the_rows_that_decide(prefer: Prefer, said: str) -> None:
    page = render_advice(advised(prefer))
    assert said in page
    assert page.count('<circle class="advised"') == 1


def test_where_the_rows_that_decide_do_not_fit_the_picture_is_of_those_that_do() -> None:
    page = render_advice(advised(Prefer.THROUGHPUT, failing={8: Failed(State.OUT_OF_MEMORY, "CUDA out of memory")}))
    assert "milliseconds for 1 row;" in page
    assert page.count('<circle class="advised"') == 1


def test_where_nothing_can_be_advised_the_page_says_so() -> None:
    nothing = advised().model_copy(update={"advised": None, "entries": []})
    assert "Nothing can be advised" in render_advice(nothing)
    assert next(advice_lines(nothing)).endswith("nothing can be advised")


def test_advice_holds_where_the_same_is_the_best_or_is_not_told_from_it() -> None:
    before = advised()
    assert before.advised is not None
    assert holds(before, advised(seed=1)) == (True, f"{QUICK} is what is advised still")
    other = before.advised.model_copy(update={"name": "other", "alike": [QUICK]})
    assert holds(before, before.model_copy(update={"advised": other}))[0]
    slower = before.model_copy(update={"advised": other.model_copy(update={"alike": []})})
    assert holds(before, slower)[0] is False
    gone = before.model_copy(update={"entries": []})
    assert holds(before, gone) == (False, f"{QUICK} was advised, and is not tried any more")


def test_what_was_advised_and_fell_is_worse_where_it_is_not_right_any_more() -> None:
    before = advised()
    assert before.advised is not None
    assert fell(before, advised(seed=1)) is None
    other = before.advised.model_copy(update={"name": "other", "alike": []})
    beaten = before.model_copy(update={"advised": other})
    fallen = fell(before, beaten)
    assert fallen is not None
    assert (fallen.kind, fallen.aspect) == (Kind.CHANGE, Aspect.ADVICE)
    assert fallen.causes == ("<b>mine<b>: what was advised is not the best any more",)
    wrong = [one.model_copy(update={"state": State.WRONG}) if one.name == QUICK else one for one in before.entries]
    worse = fell(before, beaten.model_copy(update={"entries": wrong}))
    assert worse is not None
    assert worse.kind is Kind.REGRESSION
    # What does not hold where it was given either is no fault of the other environment.
    assert fell(before, beaten, beaten) is None
    assert fell(before, beaten, before) == fallen


def test_what_differs_since_is_named() -> None:
    before = advised()
    now = before.model_copy(update={"versions": before.versions | {"torch": "9"}, "hardware": "cpu"})
    assert differing(before, now) == {"torch": ("2.13.0", "9"), "device": ("NVIDIA H100", "cpu")}
