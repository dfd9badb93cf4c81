"""What became of planted trouble: the lines, the page, and that nothing which is wrong is left out."""

from datetime import UTC, datetime
from typing import Any

import pytest

from matrix.verdict import Verdict
from reports.trouble import Attribution, Campaign, Changed, Kind, TroubledRun, trouble_lines, trouble_markdown, wrong_in
from tests.builders import cuda_stack, make_stack

WHEN = datetime(2026, 11, 20, tzinfo=UTC)
CELL = "gpt2-float32-sdpa-left-prefill"


def met(run: str = "-n 1", **changes: Any) -> Attribution:
    given = {"trouble": "abort", "moment": "load", "cell": CELL, "verdict": Verdict.CRASHED, "phase": "load", **changes}
    return Attribution(run=run, **given)


def campaign(*attributions: Attribution, **changes: Any) -> Campaign:
    run = TroubledRun(**{"name": "-n 1", "planned": 200, "met": 2, "seconds": 60.0, "status": 1, **changes})
    return Campaign(
        started=WHEN,
        finished=WHEN,
        stack=make_stack(),
        kinds={"abort": Kind(about="os.abort()", verdict=Verdict.CRASHED)},
        undisturbed={"supported": 200},
        runs=[run],
        attributions=list(attributions),
    )


def test_where_all_is_right_nothing_is_wrong() -> None:
    right = campaign(met(), met(moment="forward", phase="forward"))
    assert list(wrong_in(right)) == []
    assert list(trouble_lines(right)) == [
        "abort  crashed        load 1 of 1  forward 1 of 1",
        "",
        "-n 1: 200 cells, 2 met trouble, 0 others changed, 0 records lost, 0 helped, exit 1 after 60 s",
        "2 of 2 are what they should be, in their cell and phase",
    ]
    page = trouble_markdown(right)
    assert "| abort | os.abort() | crashed | 1 of 1 | 1 of 1 |" in page
    assert "| -n 1 | 200 | 2 | 0 | 0 | 0 | 1 | 60 |" in page
    assert page.endswith("Nothing is wrong.\n")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (campaign(met(wrong=["in phase load instead of forward"])), f"abort in load of {CELL}: in phase load"),
        (
            campaign(changed=[Changed(cell=CELL, was=Verdict.SUPPORTED, now=Verdict.ERROR)]),
            f"{CELL} was supported and is error",
        ),
        (campaign(lost=[CELL]), f"{CELL} has no record"),
        (campaign(status=None), "it did not end by itself"),
        (campaign(problems=["no report"]), "no report"),
    ],
)
def test_whatever_is_wrong_is_told_with_its_run(wrong: Campaign, said: str) -> None:
    (line,) = wrong_in(wrong)
    assert line.startswith(f"-n 1: {said}")
    assert f"WRONG {line}" in list(trouble_lines(wrong))
    assert f"- {line}" in trouble_markdown(wrong)


def test_a_cell_that_met_trouble_and_has_no_record_counts() -> None:
    lost = campaign(met(), lost=["opt-float32-sdpa-prefill"])
    assert "1 of 2 are what they should be, in their cell and phase" in list(trouble_lines(lost))
    assert "planted 2 times. 1 were attributed" in trouble_markdown(lost)


def test_of_several_runs_those_are_named_that_are_wrong() -> None:
    found = campaign(met(), met("-n 2", verdict=Verdict.TIMEOUT, phase="load", wrong=["timeout instead of crashed"]))
    assert next(trouble_lines(found)) == "abort  crashed        load 1 of 2 (-n 2 timeout in load)"


def test_a_document_is_the_same_when_it_is_read() -> None:
    found = campaign(met()).model_copy(update={"stack": cuda_stack()})
    assert Campaign.model_validate_json(found.model_dump_json(exclude_defaults=True)) == found
    assert "NVIDIA" in trouble_markdown(found)
