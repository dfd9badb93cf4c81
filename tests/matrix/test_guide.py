"""The guide as data: rows, refusals, requirements, and probes that can fail."""

from pathlib import Path
from typing import Any

import pytest

from conformance.guide import load_probes, try_recipe
from conformance.lab import Raised, Violated
from conformance.plugin.recording import guide_entries
from conformance.plugin.settings import Settings
from matrix.errors import UsageError
from matrix.guide import Guide, Recipe, Refusal, Spelling, load_guide
from matrix.observation import Failure, Phase
from matrix.plan import valid_cells
from tests.builders import ARCHITECTURES, H100, cuda_stack, make_stack

GUIDE = load_guide()
RECIPE = '[[recipe]]\nnumber = "G1"\nname = "a"\nabout = "b"\nprobe = ["guide"]\n'
REFUSED = '[[refused]]\nrecipes = ["a"]\ntype = "TypeError"\nmessage = "no"\nsource = "here"\n'
REQUIREMENT = '[[requirement]]\nnumber = "G1"\ndistribution = "torch"\nversions = ">=2"\nabout = "c"\n'


def guide_of(folder: Path, text: str) -> Guide:
    path = folder / "guide.toml"
    path.write_text(text, encoding="utf-8")
    return load_guide.__wrapped__(path)  # the suite reads its own file once


def test_every_row_of_the_guide_is_tried() -> None:
    """G1 to G17; the claims are in matrix/claims.py."""
    numbers = {recipe.number for recipe in GUIDE.recipes}
    assert numbers == {f"G{number}" for number in range(1, 18)}


def test_every_recipe_has_cells_or_a_probe_that_exists() -> None:
    probes = set(load_probes())
    assert {recipe.name for recipe in GUIDE.recipes if recipe.probe} == probes
    for recipe in GUIDE.recipes:
        for selection in recipe.selections(ARCHITECTURES):
            assert valid_cells(ARCHITECTURES, selection), f"{recipe.name}: {selection.text}"


def test_every_system_is_tried_in_both_spellings() -> None:
    """By a probe, or by cells, which are spelled as today; G3 is spelled the same then and now."""
    spelled: dict[str, set[Spelling]] = {}
    for recipe in GUIDE.recipes:
        spelled.setdefault(recipe.number, set()).update(recipe.probe)
        if recipe.cells:
            spelled[recipe.number].add(recipe.cells_spelling)
    both = {Spelling.GUIDE, Spelling.TODAY}
    lacking = {number for number, found in spelled.items() if not both <= found and Spelling.EITHER not in found}
    assert lacking == set()


def test_axes_that_a_recipe_does_not_name_are_at_rest() -> None:
    flash = next(recipe for recipe in GUIDE.recipes if recipe.name == "flash_float32")
    (selection,) = flash.selections(ARCHITECTURES)
    assert {cell.id for cell in valid_cells(ARCHITECTURES, selection)} == {
        "llama-float32-flash_attention_2-prefill",
        "falcon-float32-flash_attention_2-prefill",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RECIPE.replace("G1", "H1"), "number 'H1'"),
        (RECIPE.replace('"a"', '"A b"'), "name 'A b'"),
        (RECIPE.replace('["guide"]', '["old"]'), "spellings"),
        (RECIPE.replace('probe = ["guide"]\n', ""), "a probe, a list of cells, or both"),
        (RECIPE + 'cells_spelling = "old"\n', "cells_spelling 'old'"),
        (RECIPE + 'colour = "red"\n', "unknown key 'colour'"),
        (RECIPE + RECIPE, "has a recipe 'a' already"),
        (RECIPE + REFUSED.replace('["a"]', '["z*"]'), r"no recipe is called 'z\*'"),
        (RECIPE + REFUSED.replace('["a"]', '"a"'), "recipes must be a list"),
        (RECIPE + REFUSED.replace('"no"', '"("'), "not a regular expression"),
        (RECIPE + REFUSED + 'spelling = "old"\n', "spelling 'old'"),
        (REQUIREMENT.replace("torch", "numpy"), "distribution 'numpy'"),
        (REQUIREMENT.replace(">=2", "two"), "versions: Invalid specifier"),
        ("[[other]]\n", r"only \[\[recipe\]\] and"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        guide_of(tmp_path, text)


def test_the_first_refusal_that_speaks_of_a_recipe_decides(tmp_path: Path) -> None:
    second = REFUSED.replace("TypeError", "ValueError")
    old = REFUSED + 'spelling = "guide"\nwhen = { transformers = ">=5" }\n'
    guide = guide_of(tmp_path, RECIPE + old + second)
    recipe = guide.recipes[0]

    def due(spelling: Spelling, transformers: str) -> str | None:
        found = guide.refusal(recipe, spelling, make_stack({"transformers": transformers}))
        return found.type if found else None

    assert due(Spelling.GUIDE, "5.23.0") == "TypeError"
    assert due(Spelling.TODAY, "5.23.0") == "ValueError"
    assert due(Spelling.GUIDE, "4.48.3") == "ValueError"
    assert guide_of(tmp_path, RECIPE).refusals == ()


def test_what_a_stack_lacks_is_named(tmp_path: Path) -> None:
    text = RECIPE + 'when = { device = "cuda", gpus = 2 }\non_cpu = { transformers = ">=99" }\n'
    recipe = guide_of(tmp_path, text).recipes[0]
    assert recipe.why_unreachable(make_stack()) == "needs cuda, 2 GPUs (here 0)"
    assert recipe.why_unreachable(cuda_stack()) == "needs 2 GPUs (here 1)"
    assert recipe.why_unreachable(cuda_stack(gpus=(H100, H100))) == ""
    anywhere = guide_of(tmp_path, RECIPE + 'on_cpu = { transformers = ">=99" }\n').recipes[0]
    assert anywhere.why_unreachable(make_stack()) == "needs transformers >=99 (here 5.23.0)"
    assert anywhere.why_unreachable(cuda_stack()) == ""


def test_a_library_that_is_too_old_is_named_with_both_versions() -> None:
    four_bit = next(one for one in GUIDE.requirements if one.number == "G12")
    problem = four_bit.problem(make_stack({"bitsandbytes": "0.37.2"}))
    assert problem == "bitsandbytes 0.37.2 is too old: 4-bit quantisation needs bitsandbytes >=0.39"
    assert four_bit.problem(make_stack({"bitsandbytes": "0.50.2"})) == ""
    assert four_bit.problem(make_stack()) == ""  # not here, which is another matter
    asked = {(one.number, one.distribution, str(one.versions)) for one in GUIDE.requirements}
    assert asked == {
        ("G1", "flash-attn", ">=2"),
        ("G9", "torch", ">=2.0"),
        ("G12", "bitsandbytes", ">=0.39"),
        ("G14", "bitsandbytes", ">=0.37"),
        ("G14", "accelerate", ">=0.12"),
    }


def tried(monkeypatch: pytest.MonkeyPatch, error: Exception | None, refusal: Refusal | None) -> str:
    """What becomes of a recipe whose probe raises that."""

    def probe(lab: Any, spelling: Spelling) -> None:
        if error is not None:
            raise error

    recipe: Recipe = GUIDE.recipes[0]
    monkeypatch.setattr("conformance.guide.load_probes", lambda: {recipe.name: probe})
    return try_recipe(recipe, Spelling.GUIDE, refusal, None)  # type: ignore[arg-type]


def of_a_cell(type_name: str, message: str) -> Raised:
    error = Raised("a cell raised")
    error.failure = Failure(Phase.GENERATE, type_name, message)
    return error


NO_KERNEL = next(one for one in GUIDE.refusals if "no_kernel_allowed" in one.recipes)
NO_KERNEL_SAID = "No viable backend for scaled_dot_product_attention was found. This is likely due to"


def test_a_recipe_that_works_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(monkeypatch, None, None) == ""


@pytest.mark.parametrize("error", [RuntimeError(NO_KERNEL_SAID), of_a_cell("RuntimeError", NO_KERNEL_SAID)])
def test_the_documented_error_is_a_refusal(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    assert tried(monkeypatch, error, NO_KERNEL) == f"RuntimeError: {NO_KERNEL_SAID}"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(NO_KERNEL_SAID),
        RuntimeError("out of paper"),
        of_a_cell("ValueError", NO_KERNEL_SAID),
        of_a_cell("RuntimeError", "out of paper"),
        Violated("wrong numbers"),
    ],
    ids=str,
)
def test_any_other_error_is_none(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        tried(monkeypatch, error, NO_KERNEL)
    if not isinstance(error, Violated):
        assert any("documented was RuntimeError" in note for note in caught.value.__notes__)
    with pytest.raises(type(error)):
        tried(monkeypatch, error, None)


def test_a_documented_error_that_does_not_come_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Violated, match="the documented error did not come: RuntimeError"):
        tried(monkeypatch, None, NO_KERNEL)


def test_a_run_of_the_guide_says_which_rows_and_cells_try_a_recipe(tmp_path: Path) -> None:
    settings = Settings(
        profile="guide",
        cells="",
        cell_ids=(),
        required=(),
        report_dir=tmp_path,
        fixture_cache=tmp_path,
        checkpoint_arguments=(),
        folders={},
        architecture_folder=None,
        expectation_path=None,
        waiver_path=None,
        cell_timeout=1.0,
        trust_remote_code=False,
        fault=None,
        seed=0,
        stack=make_stack(),
    )
    cells = [cell.id for cell in settings.plan]
    rows = [f"guide:{name}" for name in [*GUIDE.rows, *(one.row for one in GUIDE.requirements)]]
    entries = guide_entries(settings, cells, rows)
    assert {cell for entry in entries for cell in entry.cells} == set(cells)
    assert {key for entry in entries for key in entry.rows.values()} == set(rows)
    assert {entry.number for entry in entries} == {f"G{number}" for number in range(1, 18)}
    assert guide_entries(settings, [], rows[:1])[0].rows == {"guide": rows[0]}
