"""Waivers: each with a URL, excusing exactly one verdict, and an error itself once its fault is gone."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from conformance import test_sdpa_kernels
from matrix.axes import SdpaKernel
from matrix.cell import Cell, parse_cell
from matrix.errors import UsageError
from matrix.guide import load_guide
from matrix.plan import load_profiles, valid_cells
from matrix.regressions import load_regressions
from matrix.rows import RowOutcome
from matrix.stack import Stack
from matrix.verdict import Judgement, Verdict
from matrix.waiver import (
    FOLDER,
    Waiver,
    idle_row_waivers,
    idle_waivers,
    load_waivers,
    row_waiver_for,
    waiver_for,
)
from tests.builders import ARCHITECTURES, cuda_stack, make_stack, plan, toml_table

SUITE_WAIVERS = load_waivers(ARCHITECTURES)
WAIVER = {
    "cells": '"architecture=llama,t5 dtype=float16"',
    "when": '{ device = "cpu" }',
    "verdict": '"inaccurate"',
    "reason": '"a fault"',
    "url": '"https://example.org/issue/1"',
}
COVERED = parse_cell("llama-float16-sdpa-prefill")
ALSO_COVERED = parse_cell("t5-float16-sdpa-prefill")
INACCURATE = Judgement(Verdict.INACCURATE, "")
NOT_COVERED = parse_cell("llama-float32-sdpa-prefill")


def waivers_from(folder: Path, *tables: Mapping[str, str | None]) -> tuple[Waiver, ...]:
    """The waivers of a user's file, without the suite's."""
    path = folder / "mine.toml"
    path.write_text("".join(toml_table("waiver", table) for table in tables), encoding="utf-8")
    return tuple(waiver for waiver in load_waivers(ARCHITECTURES, path) if waiver.place.startswith(str(path)))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_every_file_of_the_suite_brings_waivers(path: Path) -> None:
    brought = [waiver for waiver in SUITE_WAIVERS if waiver.place.startswith(f"{path}: waiver ")]
    assert len(brought) == path.read_text(encoding="utf-8").count("[[waiver]]") > 0


@pytest.mark.parametrize("waiver", SUITE_WAIVERS, ids=lambda waiver: waiver.reproducer)
def test_a_waiver_of_the_suite_can_be_looked_up_and_reproduced(waiver: Waiver) -> None:
    url = urlsplit(waiver.url)
    assert url.scheme in ("http", "https")
    assert url.hostname
    script = FOLDER / waiver.reproducer
    assert script.suffix == ".py"
    compile(script.read_text(encoding="utf-8"), script.name, "exec")


def test_every_waiver_of_the_suite_speaks_of_a_cell_that_exists() -> None:
    planned = {cell for profile in load_profiles() for cell in plan(profile)}
    of_cells = [one for one in SUITE_WAIVERS if one.selection is not None and not one.selection.means_absent]
    beyond = [one for one in of_cells if not any(cell in one.selection for cell in planned)]
    assert [one.place for one in beyond if not valid_cells(ARCHITECTURES, one.selection)] == []


def test_every_waiver_of_rows_names_rows_that_exist() -> None:
    named = {row for waiver in SUITE_WAIVERS for row in waiver.rows}
    properties = {
        f"{name.removeprefix('test_')}[{kernel.value}]"
        for name in vars(test_sdpa_kernels)
        if name.startswith("test_")
        for kernel in SdpaKernel
    }
    guide = load_guide()
    recipes = {*guide.rows, *(requirement.row for requirement in guide.requirements)}
    assert named <= set(load_regressions()) | properties | recipes


def test_a_row_is_excused_on_the_stacks_that_its_waiver_names(tmp_path: Path) -> None:
    table = {"rows": '["a", "b"]', "reason": '"r"', "url": '"https://example.org/1"', "when": '{ device = "cpu" }'}
    waivers = waivers_from(tmp_path, table)
    assert row_waiver_for("b", make_stack(), waivers) is waivers[0]
    assert row_waiver_for("c", make_stack(), waivers) is None
    assert row_waiver_for("b", cuda_stack(), waivers) is None
    assert not any(waivers[0].covers(cell, make_stack()) for cell in plan("smoke")[:100])


@pytest.mark.parametrize(
    ("outcomes", "narrowed", "words"),
    [
        ({"a": RowOutcome.VIOLATED, "b": RowOutcome.UNAVAILABLE}, False, []),
        ({"a": RowOutcome.HOLDS, "b": RowOutcome.VIOLATED}, False, ["the fault is gone: a holds"]),
        ({"a": RowOutcome.VIOLATED}, False, ["there is no row 'b'"]),
        ({"a": RowOutcome.VIOLATED}, True, []),
    ],
)
def test_a_waiver_of_rows_must_still_be_needed(
    tmp_path: Path, outcomes: dict[str, RowOutcome], narrowed: bool, words: list[str]
) -> None:
    waivers = waivers_from(tmp_path, {"rows": '["a", "b"]', "reason": '"r"', "url": '"https://example.org/1"'})
    found = idle_row_waivers(outcomes, make_stack(), waivers, narrowed=narrowed)
    assert [problem.partition(": waiver 1: ")[2] for problem in found] == words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"url": None}, ["url"], id="no url"),
        pytest.param({"url": '""'}, ["url"], id="empty url"),
        pytest.param({"url": '"issue 29946"'}, ["'issue 29946'", "web address"], id="no web address"),
        pytest.param({"url": '"javascript:alert(1)"'}, ["javascript", "web address"], id="script for a url"),
        pytest.param({"reason": None}, ["reason"], id="no reason"),
        pytest.param({"cells": None}, ["cells"], id="no cells"),
        pytest.param({"cells": '"dtype=float64"'}, ["'float64'", "bfloat16"], id="unknown value"),
        pytest.param({"verdict": None}, ["verdict"], id="no verdict"),
        pytest.param({"verdict": '"broken"'}, ["'broken'", "inaccurate"], id="unknown verdict"),
        pytest.param({"verdict": '"supported"'}, ["'supported'", "inaccurate"], id="nothing to excuse"),
        pytest.param({"verdict": '"missing"'}, ["'missing'", "inaccurate"], id="missing is never excused"),
        pytest.param({"rows": '["a"]'}, ["no cells, no verdict"], id="rows and cells"),
        pytest.param({"rows": '"a"', "cells": None, "verdict": None}, ["rows", "'a'"], id="rows no list"),
        pytest.param({"message": '"("'}, ["message", "regular expression"], id="broken message"),
        pytest.param({"message": "5"}, ["message", "regular expression"], id="message no text"),
        pytest.param({"link": '"x"'}, ["unknown key 'link'", "url"], id="unknown key"),
        pytest.param({"reproducer": '"gone.py"'}, ["'gone.py'"], id="no such reproducer"),
        pytest.param({"when": '{ jax = ">=1" }'}, ["'jax'", "torch"], id="unknown library"),
    ],
)
def test_a_broken_waiver_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, str | None], words: list[str]
) -> None:
    """The first waiver of the file is right, so the second is what is refused."""
    with pytest.raises(UsageError) as caught:
        waivers_from(tmp_path, WAIVER, {**WAIVER, **changes})
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'mine.toml'}: waiver 2: ")
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("cell", "verdict", "stack"),
    [
        pytest.param(NOT_COVERED, Verdict.INACCURATE, make_stack(), id="other cell"),
        pytest.param(COVERED, Verdict.ERROR, make_stack(), id="other verdict"),
        pytest.param(COVERED, Verdict.FLAKY, make_stack(), id="flaky"),
        pytest.param(COVERED, Verdict.INACCURATE, cuda_stack(), id="other stack"),
    ],
)
def test_a_waiver_excuses_only_its_verdict_cells_and_stacks(
    tmp_path: Path, cell: Cell, verdict: Verdict, stack: Stack
) -> None:
    waivers = waivers_from(tmp_path, WAIVER)
    assert waiver_for(COVERED, INACCURATE, make_stack(), waivers) is waivers[0]
    assert waiver_for(cell, Judgement(verdict, ""), stack, waivers) is None


def test_a_waiver_with_a_message_excuses_what_says_so(tmp_path: Path) -> None:
    waivers = waivers_from(tmp_path, WAIVER | {"message": '"begins in .*norm"'})
    said = Judgement(Verdict.INACCURATE, "logits max error 3; begins in model.norm (RMSNorm)")
    assert waiver_for(COVERED, said, make_stack(), waivers) is waivers[0]
    assert waiver_for(COVERED, INACCURATE, make_stack(), waivers) is None


@pytest.mark.parametrize("narrowed", [False, True])
def test_only_a_whole_run_asks_for_the_message_of_a_waiver(tmp_path: Path, narrowed: bool) -> None:
    """It may speak of many cells, of which a narrowed run has those alone that do not raise it."""
    waivers = waivers_from(tmp_path, WAIVER | {"message": '"norm"'})
    judgements = {COVERED: Judgement(Verdict.SUPPORTED, "fine"), ALSO_COVERED: INACCURATE}
    assert len(idle_waivers(judgements, make_stack(), waivers, narrowed=narrowed)) == (0 if narrowed else 1)
    judgements[ALSO_COVERED] = Judgement(Verdict.INACCURATE, "in the norm")
    assert idle_waivers(judgements, make_stack(), waivers, narrowed=narrowed) == []


def test_the_second_waiver_is_found_past_the_first(tmp_path: Path) -> None:
    waivers = waivers_from(tmp_path, WAIVER | {"verdict": '"crashed"'}, WAIVER)
    assert waiver_for(COVERED, INACCURATE, make_stack(), waivers) is waivers[1]


@pytest.mark.parametrize(
    ("verdicts", "narrowed", "stack", "complaint"),
    [
        pytest.param({COVERED: Verdict.INACCURATE}, False, make_stack(), None, id="still there"),
        pytest.param({COVERED: Verdict.SUPPORTED}, False, make_stack(), "the fault is gone", id="gone"),
        pytest.param({COVERED: Verdict.SUPPORTED}, True, make_stack(), "the fault is gone", id="gone, narrowed run"),
        pytest.param({COVERED: Verdict.ERROR}, False, make_stack(), "the fault is gone", id="turned into another"),
        pytest.param(
            {COVERED: Verdict.SUPPORTED, ALSO_COVERED: Verdict.INACCURATE}, False, make_stack(), None, id="left in one"
        ),
        pytest.param({NOT_COVERED: Verdict.INACCURATE}, False, make_stack(), "no planned cell matches", id="no cell"),
        pytest.param({NOT_COVERED: Verdict.INACCURATE}, True, make_stack(), None, id="no cell, narrowed run"),
        pytest.param({COVERED: Verdict.UNAVAILABLE}, False, make_stack(), None, id="cells unavailable"),
        pytest.param({COVERED: Verdict.MISSING}, False, make_stack(), None, id="cells missing"),
        pytest.param(
            {COVERED: Verdict.UNAVAILABLE, ALSO_COVERED: Verdict.SUPPORTED},
            False,
            make_stack(),
            "1 cells ran",
            id="one unavailable, one without the fault",
        ),
        pytest.param({COVERED: Verdict.SUPPORTED}, False, cuda_stack(), None, id="gone, other stack"),
        pytest.param({NOT_COVERED: Verdict.SUPPORTED}, False, cuda_stack(), None, id="no cell, other stack"),
        pytest.param({COVERED: Verdict.REFUSED}, True, make_stack(), None, id="refused on other grounds, narrowed run"),
    ],
)
def test_a_waiver_without_its_fault_is_an_error(
    tmp_path: Path, verdicts: dict[Cell, Verdict], narrowed: bool, stack: Stack, complaint: str | None
) -> None:
    judgements = {cell: Judgement(verdict, "") for cell, verdict in verdicts.items()}
    found = idle_waivers(judgements, stack, waivers_from(tmp_path, WAIVER), narrowed=narrowed)
    if complaint is None:
        assert found == []
    else:
        (line,) = found
        assert line.startswith(f"{tmp_path / 'mine.toml'}: waiver 1: ")
        assert complaint in line


@pytest.mark.parametrize("changes", [{"reproducer": "5"}, {"url": '"https://"'}])
def test_a_broken_waiver_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(toml_table("waiver", WAIVER | changes), encoding="utf-8")
    with pytest.raises(UsageError, match="waiver 1"):
        load_waivers(ARCHITECTURES, path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("message", '"a{4294967296}"', "is not a regular expression"),
        ("reproducer", '"../waivers/beam.toml"', "is not a file beside it"),
        ("reproducer", '"a\\u0000b"', "is not a file beside it"),
        ("reproducer", f'"{"x" * 5000}"', "is not a file beside it"),
        ("url", '"https://a/\\u001b[31m"', "is not a web address"),
        ("url", '"https://a/ b"', "is not a web address"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_the_waiver(tmp_path: Path, key: str, value: str, words: str) -> None:
    table = {
        "cells": '"dtype=float16"',
        "verdict": '"error"',
        "reason": '"because"',
        "url": '"https://a/b"',
        key: value,
    }
    (tmp_path / "mine.toml").write_text(toml_table("waiver", table), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"mine\.toml: waiver 1: .*{words}"):
        load_waivers(ARCHITECTURES, tmp_path / "mine.toml")
