"""Every type of the installed transformers is a row, or is listed with what is missing."""

import fnmatch
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from packaging.version import Version

from conformance.models.batches import PLAIN
from conformance.models.fixtures import fixture
from conformance.plugin.measuring import _unbuilt
from conformance.zoo.by_design import cannot, lacking
from conformance.zoo.census import entries, known_of
from conformance.zoo.shrink import shrink
from matrix import expectation, waiver
from matrix.architectures import Architecture, load_architectures
from matrix.cell import Cell, parse_cell
from matrix.expectation import SUPPORTED, expect, load_rules
from matrix.installed import FIXTURE_CACHE, _architecture, census, may_have, with_installed
from matrix.plan import make_plan, valid_cells
from matrix.selection import parse_selection
from matrix.stack import detect_stack
from matrix.verdict import Verdict, judge
from tests.builders import cuda_stack

STACK = detect_stack()
ON_REFERENCE = pytest.mark.skipif(
    Version(STACK.versions["transformers"]).release[:2] != (5, 24), reason="the names are those of the reference stack"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a census, for which the library is read once on a machine, and no fixture."""
    folder = tmp_path_factory.mktemp("census")
    shutil.copy(census(FIXTURE_CACHE.expanduser()), folder)
    return folder


def test_every_type_of_the_library_can_be_built_or_is_listed(cache: Path) -> None:
    known = with_installed(load_architectures(), cache)
    assert [name for name, one in known.items() if one.unbuilt and not one.missing] == []
    listed = {name for name, one in known.items() if one.unbuilt and [*one.missing] == lacking(name, one.unbuilt)}
    assert len(listed) >= 6  # what no release can make small
    assert len([name for name, one in known.items() if one.unbuilt]) < 25


def test_none_disappears_and_the_plan_has_a_cell_for_each(cache: Path) -> None:
    known = with_installed(load_architectures(), cache)
    of = {(one.model_type, one.auto_class) for one in known.values()}
    assert {entry for entry in entries() if entry[1] != "AutoModel"} <= of
    planned = {cell.architecture for cell in make_plan("zoo", known)}
    assert planned == {name for name, one in known.items() if not one.profiles or "zoo" in one.profiles}
    alone = [cell for cell in make_plan("zoo", known) if known[cell.architecture].unbuilt]
    assert {cell.id for cell in alone} == {f"{name}-float32-eager-prefill" for name in known if known[name].unbuilt}


@ON_REFERENCE
def test_whom_the_suite_names_there_is(cache: Path) -> None:
    """A slip in a name would mean none, and be silent: names of other releases are told apart here."""
    known = with_installed(load_architectures(), cache)
    tables = [
        (path.name, table["cells"])
        for folder, key in ((expectation.FOLDER, "rule"), (waiver.FOLDER, "waiver"))
        for path in sorted(folder.glob("*.toml"))
        for table in expectation.read_tables(path, key)
        if "cells" in table
    ]
    clauses = [
        (file, clause) for file, cells in tables for clause in cells.split() if clause.startswith("architecture=")
    ]
    assert len(clauses) > 40
    with_timm = {"conditional_detr_base", "deformable_detr_base", "detr_base"}  # no rows without the package
    of_releases_4 = {"mega"}
    for file, clause in clauses:
        for name in clause.removeprefix("architecture=").removeprefix("!").split(","):
            assert fnmatch.filter({*known, *with_timm, *of_releases_4}, name), f"{file}: {name}"


def test_a_type_that_cannot_be_built_says_so() -> None:
    typed = load_architectures()["llama"]
    cell = parse_cell("llama-float32-eager-prefill")
    observation = _unbuilt(replace(typed, unbuilt="inputs: ValueError: takes: what"))
    judgement = judge(cell, typed, observation, SUPPORTED, STACK.device)
    assert judgement.verdict is Verdict.NOT_BUILT
    assert judgement.reason == "ValueError in build: takes: what (while its inputs was made)"
    absent = _unbuilt(replace(typed, unbuilt="build: ImportError: no", missing=("timm",)))
    assert judge(cell, typed, absent, SUPPORTED, STACK.device).verdict is Verdict.UNAVAILABLE


def cells_of(architecture: Architecture) -> list[Cell]:
    selection = parse_selection("quantisation=none,nf4 device_map=none", ["llama"])
    return valid_cells({"llama": architecture}, selection)


def test_what_a_type_does_not_promise_is_not_asked_of_it() -> None:
    assert cannot("llama") == {}
    assert {"causality", "continued", "stepwise", "generate", "left"} <= cannot("diffusion_gemma_image_text").keys()
    not_asked = dict.fromkeys(("generate", "float16", "flex_attention", "right", "nf4"), "why")
    cells = cells_of(replace(load_architectures()["llama"], cannot=not_asked))
    assert {"prefill", "beam"} < {cell.workload for cell in cells}
    assert "generate" not in {cell.workload for cell in cells}
    assert {cell.dtype for cell in cells} == {"float32", "bfloat16"}
    assert "left" in {cell.padding for cell in cells}
    assert not {value for cell in cells for value in (cell.attention, cell.padding, cell.quantisation)} & set(not_asked)


def test_only_the_error_that_is_listed_is_excused() -> None:
    said = "build: RuntimeError: even small it has 295 million parameters"
    assert lacking("gemma3n", said)
    assert not lacking("gemma3n", "build: RuntimeError: size mismatch")
    assert not lacking("llama", said)


def test_a_census_is_made_once(cache: Path) -> None:
    path = census(cache)
    path.write_text(json.dumps([]), encoding="utf-8")
    typed = load_architectures()
    assert with_installed(typed, cache) == typed
    path.unlink()


def test_a_fixture_of_a_type_that_nobody_typed_is_the_same_in_every_folder(tmp_path: Path) -> None:
    entry = known_of(("qwen3", "AutoModelForCausalLM"))
    assert entry is not None
    assert entry["flags"]["_supports_sdpa"]
    assert "qk_norm" in entry["traits"]
    (tmp_path / "census").mkdir()
    architecture = _architecture("qwen3", entry)
    first, second = (fixture(architecture, tmp_path / name) for name in ("one", "other"))
    assert first.name == second.name
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    assert "transformers_version" not in (first / "config.json").read_text(encoding="utf-8")
    assert torch.get_default_dtype() is torch.float32


def test_what_decides_attention_survives_shrinking() -> None:
    layers = ["sliding_attention"] * 5 + ["full_attention"]
    config = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 12}
    small = shrink({**config, "head_dim": 128, "sliding_window": 4096, "layer_types": layers * 2})
    assert small["layer_types"] == ["sliding_attention", "full_attention"]
    assert small["num_hidden_layers"] == 2
    assert (small["num_attention_heads"], small["num_key_value_heads"]) == (4, 2)
    assert small["sliding_window"] < 144


@pytest.mark.parametrize(("name", "there"), [("gemma3_text", True), ("bert_causal", True), ("lama", False)])
def test_only_names_that_the_library_may_have_are_worth_a_look(name: str, there: bool) -> None:
    assert may_have(name) is there


def test_what_takes_no_cache_is_not_decoded_by_hand() -> None:
    inputs = {**PLAIN, "highest": 256, "cache": False}
    cells = cells_of(replace(load_architectures()["llama"], inputs=inputs))
    workloads = {str(cell.workload) for cell in cells}
    assert not workloads & {"continued", "stepwise", "chunked_prefill", "static_cache"}
    assert {"generate", "causality"} <= workloads


@pytest.mark.parametrize(
    ("flags", "attention", "type_", "outcome"),
    [
        ({"_supports_flash_attn": False}, "flash_attention_2", "ValueError", "refused"),
        ({"part_supports_sdpa": False}, "sdpa", "ValueError", "refused"),
        ({"part_supports_flash_attn": False}, "flash_attention_2", "ValueError", "refused"),
        ({"_compatible_flash_implementations": True}, "flash_attention_2", "ImportError", "unavailable"),
        (
            {"_compatible_flash_implementations": True, "_supports_flash_attn": False},
            "flash_attention_2",
            "ImportError",
            "unavailable",
        ),
        ({"_supports_sdpa": True}, "sdpa", None, "supported"),
    ],
)
def test_what_a_class_or_its_parts_declare_is_what_is_expected(
    flags: dict[str, bool], attention: str, type_: str | None, outcome: str
) -> None:
    known = {"other": replace(load_architectures()["llama"], name="other", flags=flags)}
    stack = cuda_stack({"flash-attn": "2.8.3", "transformers": "5.23.0"})
    found = expect(parse_cell(f"other-bfloat16-{attention}-prefill"), stack, load_rules(known))
    assert (found.outcome, found.type) == (outcome, type_)


def test_a_router_that_is_a_layer_of_its_own_class_stays_as_it_is() -> None:
    entry = known_of(("phimoe", "AutoModelForCausalLM"))
    assert entry is not None
    assert "router" in entry["kept_linear"]
    assert "wo" in (known_of(("mt5", "AutoModelForSeq2SeqLM")) or {})["kept_linear"]


@pytest.mark.parametrize(("model_type", "again"), [("idefics", True), ("llava", False)])
def test_whether_a_step_is_shown_the_picture_again_is_found_out(model_type: str, again: bool) -> None:
    entry = known_of((model_type, "AutoModelForImageTextToText"))
    assert entry is not None
    assert entry["inputs"]["noise"]
    assert entry["inputs"]["again"] is again
