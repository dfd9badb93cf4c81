"""Plans: what cannot exist is left out, what can is covered, and every process makes the same plan."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.architectures import Kind, Positions, load_architectures
from matrix.cell import Cell, parse_cell
from matrix.constraints import why_impossible
from matrix.errors import UsageError
from matrix.placements import PLACEMENTS
from matrix.plan import cover, load_profiles, make_plan, valid_cells
from matrix.quantisers import QUANTISATIONS
from matrix.selection import parse_selection
from matrix.workloads import WORKLOADS
from tests.builders import ARCHITECTURES, PROPERTY, ROOT, plan

# What full and relations may try: all else has profiles of its own, and there is too much of it to go through it all.
USUAL = " ".join(
    f"{axis}={','.join(name for name, room in rooms.items() if room.profiles is None or 'relations' in room.profiles)}"
    for axis, rooms in {"quantisation": QUANTISATIONS, "device_map": PLACEMENTS, "workload": WORKLOADS}.items()
)
LLAMA = valid_cells({"llama": ARCHITECTURES["llama"]}, parse_selection(f"transformation=none {USUAL}", ARCHITECTURES))
EVERYWHERE = {name: one for name, one in ARCHITECTURES.items() if not one.profiles}
# The profiles whose selections stand in profiles.toml.
SELECTED = [name for name, profile in load_profiles().items() if profile.cells]
# Those that name the architectures which they try, and mean no other.
NAMED = [name for name, profile in load_profiles().items() if all("architecture=" in text for text in profile.cells)]


def possible(cell: Cell) -> bool:
    axes = ("quantisation", "device_map", "workload", "transformation", "cache")
    selection = parse_selection(" ".join(f"{axis}={getattr(cell, axis)}" for axis in axes), ARCHITECTURES)
    return cell in valid_cells({cell.architecture: ARCHITECTURES[cell.architecture]}, selection)


def interactions(cells: Iterable[Cell]) -> set[tuple[object, ...]]:
    """Pairs of axis values, pairs of a backend and a value, and triples of backend, dtype and quantisation."""
    found: set[tuple[object, ...]] = set()
    for cell in cells:
        _, *values = cell.axis_values()
        backend = (cell.attention, cell.sdpa_kernel)
        found.update(itertools.combinations(values, 2))
        found.update((backend, value) for value in values)
        found.add((backend, cell.dtype, cell.quantisation))
    return found


@pytest.mark.parametrize(
    ("impossible", "neighbour", "reason"),
    [
        ("llama-float16-eager-flash-prefill", "llama-float16-sdpa-flash-prefill", "SDPA kernel"),
        ("llama-float16-eager-flash-prefill", "llama-float16-eager-prefill", "SDPA kernel"),
        ("llama-float16-flash_attention_2-math-prefill", "llama-float16-sdpa-math-prefill", "SDPA kernel"),
        ("llama-float16-flex_attention-cudnn-prefill", "llama-float16-sdpa-cudnn-prefill", "SDPA kernel"),
        ("bert-float16-eager-generate", "bert-float16-eager-prefill", "encoder"),
        ("bert-float16-eager-generate", "t5-float16-eager-generate", "encoder"),
        ("llama-float16-eager-right-generate", "llama-float16-eager-left-generate", "left padding"),
        ("llama-float16-eager-right-generate", "llama-float16-eager-generate", "left padding"),
        ("llama-float16-eager-right-generate", "llama-float16-eager-right-prefill", "left padding"),
        ("llama-float16-eager-right-generate", "t5-float16-eager-right-generate", "left padding"),
        ("llama-float16-eager-nf4-train", "llama-float16-eager-train", "no gradients"),
        ("llama-float16-flex_attention-better_transformer-prefill", "llama-float16-eager-prefill", "BetterTransformer"),
        ("llama-float16-eager-better_transformer-stepwise", "llama-float16-eager-stepwise", "BetterTransformer"),
    ],
)
def test_a_constraint_turns_down_one_cell_and_not_its_neighbour(impossible: str, neighbour: str, reason: str) -> None:
    one, other = parse_cell(impossible), parse_cell(neighbour)
    assert reason in (why_impossible(one, ARCHITECTURES[one.architecture]) or "")
    assert why_impossible(other, ARCHITECTURES[other.architecture]) is None
    assert not possible(one)
    assert possible(other)


def test_a_converted_model_can_be_pinned_to_a_kernel_and_an_eager_one_cannot() -> None:
    converted, eager = (
        parse_cell(f"opt-float16-eager-flash{changed}-generate") for changed in ("-better_transformer", "")
    )
    assert why_impossible(converted, ARCHITECTURES["opt"]) is None
    assert "SDPA kernel" in (why_impossible(eager, ARCHITECTURES["opt"]) or "")


@PROPERTY
@given(st.lists(st.sampled_from(LLAMA), unique=True, max_size=60))
def test_cover_loses_no_interaction_and_keeps_the_order(cells: list[Cell]) -> None:
    covering = cover(cells)
    assert interactions(covering) == interactions(cells)
    kept = set(covering)
    assert covering == [cell for cell in cells if cell in kept]


def test_cover_leaves_out_what_adds_nothing() -> None:
    """Each triple needs a cell of its own; a cover much longer than that would waste every run's time."""
    cells = [  # others are covered by no plan
        cell for cell in LLAMA if all(room.profiles is None or "pairwise" in room.profiles for room in cell.rooms)
    ]
    triples = {(cell.attention, cell.sdpa_kernel, cell.dtype, cell.quantisation) for cell in cells}
    assert len(triples) <= len(cover(cells)) <= 1.1 * len(triples)
    assert cover([LLAMA[0], LLAMA[0]]) == [LLAMA[0]]
    assert cover([]) == []


@pytest.mark.parametrize("kind", Kind)
def test_pairwise_covers_every_pair_and_the_triples_that_people_choose(kind: Kind) -> None:
    """For each architecture alone: a pair lost by `cover`, or left to another architecture, would show here."""
    alike = [name for name, architecture in EVERYWHERE.items() if architecture.kind is kind]
    wanted = interactions(cell for cell in plan("full") if cell.architecture == alike[0])
    for name in alike:
        assert wanted - interactions(cell for cell in plan("pairwise") if cell.architecture == name) == set()
        assert wanted - interactions(cell for cell in plan("smoke") if cell.architecture == name) != set()


@pytest.mark.parametrize(("profile", "least"), [("smoke", 200), ("pairwise", 1_000), ("full", 10_000)])
def test_a_profile_is_as_large_as_promised(profile: str, least: int) -> None:
    assert len(plan(profile)) >= least


@pytest.mark.parametrize("profile", load_profiles())
def test_a_plan_holds_valid_cells_without_repeats(profile: str) -> None:
    cells = plan(profile)
    assert len({cell.id for cell in cells}) == len(cells)
    assert all(why_impossible(cell, ARCHITECTURES[cell.architecture]) is None for cell in cells)


def test_the_full_plan_is_every_prefill_and_generation_and_the_relations_are_all_others() -> None:
    tried = {name: one for name, one in ARCHITECTURES.items() if not one.profiles or "full" in one.profiles}
    # Other transformations and caches have profiles of their own, and no relation has a choice of cache.
    plain = valid_cells(tried, parse_selection(f"transformation=none cache=dynamic {USUAL}", ARCHITECTURES))
    usual = [cell for cell in plain if all(room.profiles is None for room in cell.rooms)]
    assert list(plan("full")) == [cell for cell in usual if cell.workload in ("prefill", "generate")]
    unquantised = [cell for cell in plain if cell.quantisation == "none"]
    assert list(plan("relations")) == [cell for cell in unquantised if cell.workload.is_relation]


@pytest.mark.parametrize("profile", ["smoke", "pairwise"])
def test_every_workload_that_means_to_be_is_in_the_default_plans(profile: str) -> None:
    meant = {name for name, room in WORKLOADS.items() if room.profiles is None or profile in room.profiles}
    assert {cell.workload for cell in plan(profile)} == meant


def test_the_guide_trains_and_converts() -> None:
    cells = plan("guide")
    assert "train" in {cell.workload for cell in cells}
    assert "better_transformer" in {cell.transformation for cell in cells}
    assert {"roberta", "distilbert", "gpt_neox", "codegen"} <= {cell.architecture for cell in cells}


@pytest.mark.parametrize("profile", load_profiles())
def test_every_architecture_has_one_block_of_a_plan(profile: str) -> None:
    """xdist hands out contiguous blocks: an architecture in two places would be loaded twice."""
    blocks = [name for name, _ in itertools.groupby(cell.architecture for cell in plan(profile))]
    tried = [name for name in ARCHITECTURES if any(cell.architecture == name for cell in plan(profile))]
    assert blocks == tried
    assert profile in NAMED or set(EVERYWHERE) <= set(blocks)


@pytest.mark.parametrize("profile", load_profiles())
def test_narrowing_only_takes_away(profile: str) -> None:
    narrow = parse_selection("architecture=llama,bert dtype=!float16 workload=prefill,reload,generate", ARCHITECTURES)
    assert make_plan(profile, ARCHITECTURES, narrow) == [cell for cell in plan(profile) if cell in narrow]


@pytest.mark.parametrize("profile", load_profiles())
def test_whom_a_profile_names_it_tries(profile: str) -> None:
    """The file of an architecture says in which profiles it is: who is named elsewhere is left out without a word."""
    clauses = [clause for cells in load_profiles()[profile].cells for clause in cells.split()]
    named = {name for one in clauses if one.startswith("architecture=") for name in one.partition("=")[2].split(",")}
    assert named & set(ARCHITECTURES) <= {cell.architecture for cell in plan(profile)}


@pytest.mark.parametrize("profile", load_profiles())
def test_every_process_makes_the_same_plan(profile: str) -> None:
    """xdist refuses to run where two workers collect differently; a set's order differs with the hash seed."""
    narrow = "architecture=llama"
    command = [sys.executable, "-m", "matrix", "list", "--profile", profile, "--cells", narrow]
    answer = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "12345"}, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == [cell.id for cell in plan(profile) if cell.architecture == "llama"]


@pytest.mark.parametrize("profile", [profile for profile in SELECTED if profile not in NAMED])
@pytest.mark.parametrize("name", ["aardvark", "zebra"])
def test_another_architecture_changes_no_cell_of_the_others(profile: str, name: str, tmp_path: Path) -> None:
    text = (ROOT / "matrix" / "architectures" / "llama.toml").read_text(encoding="utf-8")
    (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    more = load_architectures(tmp_path)
    cells = make_plan(profile, more, parse_selection(f"architecture=bert,t5,{name}", more))
    assert {cell.architecture for cell in cells} == {"bert", "t5", name}
    assert [cell for cell in cells if cell.architecture != name] == [
        cell for cell in plan(profile) if cell.architecture in ("bert", "t5")
    ]


def test_an_unknown_profile_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"unknown profile 'smokey'; allowed are smoke, .*pairwise, .*full"):
        make_plan("smokey", ARCHITECTURES)


@pytest.mark.parametrize("profile", load_profiles())
def test_a_plan_without_cells_is_refused(profile: str) -> None:
    narrow = parse_selection("architecture=bert workload=generate", ARCHITECTURES)
    with pytest.raises(UsageError, match=f"{profile}.*architecture=bert workload=generate"):
        make_plan(profile, ARCHITECTURES, narrow)


TAKES = {"tokens": True, "mask": True, "positions": "tokens"}


@pytest.mark.parametrize(
    ("takes", "sides"),
    [
        (TAKES, {"none", "left", "right"}),
        (TAKES | {"mask": False}, {"none"}),
        (TAKES | {"positions": "none"}, {"none"}),
        (TAKES | {"tokens": False, "positions": "frames"}, {"none", "right"}),
    ],
    ids=["tokens", "no mask", "other positions", "sound"],
)
def test_what_takes_no_padding_is_not_padded(takes: dict[str, object], sides: set[str]) -> None:
    one = {"llama": replace(ARCHITECTURES["llama"], inputs=takes)}
    assert {str(cell.padding) for cell in valid_cells(one, parse_selection("workload=prefill", one))} == sides


def test_where_tokens_count_the_padding_no_row_alone_is_held_against_the_batch() -> None:
    fixed = {"llama": replace(ARCHITECTURES["llama"], positions=Positions.FIXED)}
    selection = parse_selection("workload=padding_invariance", fixed)
    assert valid_cells(fixed, selection) == []
    assert valid_cells({"llama": ARCHITECTURES["llama"]}, selection)


def test_of_what_cannot_be_built_one_cell_is_planned() -> None:
    known = {**ARCHITECTURES, "llama": replace(ARCHITECTURES["llama"], unbuilt="build: ValueError: no")}
    planned = [cell.id for cell in make_plan("smoke", known) if cell.architecture == "llama"]
    assert planned == ["llama-float32-eager-prefill"]


def test_an_architecture_that_names_a_profile_that_there_is_not_is_refused() -> None:
    strange = replace(ARCHITECTURES["llama"], profiles=("smoke", "smokey"))
    with pytest.raises(UsageError, match="architecture llama: unknown profile 'smokey'; allowed are smoke"):
        make_plan("smoke", {**ARCHITECTURES, "llama": strange})
    assert make_plan("smoke", {**ARCHITECTURES, "llama": replace(strange, profiles=("smoke",))})
