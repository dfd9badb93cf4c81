"""`--cells`: which cells a selection contains, and how it refuses what it does not know."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import AXES, Cell, parse_cell
from matrix.errors import UsageError
from matrix.selection import means_installed, parse_selection
from tests.builders import ARCHITECTURES, PROPERTY, cells

KNOWN = ("llama", "falcon", "t5")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("dtype=bfloat16", "llama-bfloat16-sdpa-prefill", "llama-float16-sdpa-prefill"),
        ("dtype=bfloat16,float16", "llama-float16-sdpa-prefill", "llama-float32-sdpa-prefill"),
        ("dtype=!float32", "llama-float16-sdpa-prefill", "llama-float32-sdpa-prefill"),
        ("dtype=!float32,float16", "llama-bfloat16-sdpa-prefill", "llama-float16-sdpa-prefill"),
        ("architecture=llama,t5", "t5-float32-sdpa-prefill", "falcon-float32-sdpa-prefill"),
        ("architecture=!llama", "t5-float32-sdpa-prefill", "llama-float32-sdpa-prefill"),
        ("quantisation=none", "llama-float32-sdpa-prefill", "llama-float32-sdpa-nf4-prefill"),
        ("sdpa_kernel=unpinned", "llama-float32-sdpa-prefill", "llama-float32-sdpa-math-prefill"),
        ("padding=none", "llama-float32-sdpa-prefill", "llama-float32-sdpa-left-prefill"),
        ("device_map=!none", "llama-float32-sdpa-auto-prefill", "llama-float32-sdpa-prefill"),
        ("architecture=llama dtype=float16", "llama-float16-sdpa-prefill", "llama-float32-sdpa-prefill"),
        ("architecture=llama dtype=float16", "llama-float16-sdpa-prefill", "t5-float16-sdpa-prefill"),
    ],
)
def test_membership(text: str, inside: str, outside: str) -> None:
    selection = parse_selection(text, KNOWN)
    assert parse_cell(inside) in selection
    assert parse_cell(outside) not in selection


def test_no_clause_selects_every_cell() -> None:
    assert parse_cell("falcon-float16-eager-nf4-left-generate") in parse_selection("", KNOWN)


def test_all_values_negated_select_nothing() -> None:
    selection = parse_selection("dtype=!float32,float16,bfloat16", KNOWN)
    assert not any(selection.could_contain("dtype", value) for value in AXES["dtype"].values)


@PROPERTY
@given(cells(), st.sampled_from(list(AXES)), st.data())
def test_a_clause_and_its_negation_share_the_cells_out(cell: Cell, axis: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from(list(AXES[axis].values)), min_size=1, unique=True))
    listed = ",".join(values)
    inside = cell in parse_selection(f"{axis}={listed}", KNOWN)
    assert inside == (str(getattr(cell, axis)) in values)
    assert inside != (cell in parse_selection(f"{axis}=!{listed}", KNOWN))


@PROPERTY
@given(cells(), st.sampled_from(list(AXES)), st.data())
def test_a_cell_is_inside_only_if_each_of_its_values_could_be(cell: Cell, axis: str, data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(list(AXES[axis].values)))
    selection = parse_selection(f"{axis}=!{value}", KNOWN)
    possible = all(selection.could_contain(name, found) for name, found in cell.axis_values())
    assert (cell in selection) == possible


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flavour=sweet", ["unknown axis 'flavour'", "architecture, traits, family, declares, denies, dtype"]),
        ("dtype=float64", ["unknown dtype 'float64'", "float32, float16, bfloat16"]),
        ("dtype=!float64", ["unknown dtype 'float64'", "float32, float16, bfloat16"]),
        ("dtype=float32,", ["unknown dtype ''", "float32"]),
        ("dtype=!!float32", ["unknown dtype '!float32'", "float32"]),
        ("architecture=grok", ["unknown architecture 'grok'", "llama, falcon, t5"]),
        ("llama", ["'llama'", "axis=value"]),
        ("dtype=", ["'dtype='", "axis=value"]),
        ("dtype=!", ["'dtype=!'", "axis=value"]),
        ("dtype = float32", ["'dtype'", "axis=value"]),
        ("dtype=float32 padding=left dtype=float16", ["dtype is given twice", "dtype=a,b"]),
    ],
)
def test_a_bad_selection_is_refused_by_name(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_selection(text, KNOWN)
    message = str(caught.value)
    assert repr(text) in message
    assert [word for word in words if word not in message] == []


def test_architectures_are_meant_by_pattern_trait_and_flag() -> None:
    known = {
        name: replace(ARCHITECTURES[name], traits=traits, flags={"_supports_sdpa": sdpa})
        for name, traits, sdpa in (
            ("llama", ("gqa",), True),
            ("mistral", ("gqa", "window"), True),
            ("bloom", (), False),
        )
    }

    def meant(text: str) -> frozenset[str]:
        return parse_selection(text, known).allowed["architecture"]

    assert meant("architecture=*l*") == {"llama", "mistral", "bloom"}
    assert meant("architecture=mi*") == {"mistral"}
    assert meant("traits=window") == {"mistral"}
    assert meant("traits=!gqa") == {"bloom"}
    assert meant("denies=_supports_sdpa") == {"bloom"}
    assert meant("declares=_supports_sdpa architecture=llama,bloom") == {"llama"}
    assert meant("family=text_decoder") == set(known)
    with pytest.raises(UsageError, match="unknown architecture 'z\\*'"):
        meant("architecture=z*")


def test_the_suite_may_speak_of_what_another_release_has() -> None:
    assert parse_selection("architecture=qwen9", ["llama"], absent=True).means_absent
    assert not parse_selection("architecture=llama,qwen9", ["llama"], absent=True).means_absent
    assert means_installed("architecture=qwen9 dtype=float32", ["llama"], lambda name: True)
    assert not means_installed("architecture=lama", ["llama"], lambda name: False)


def test_what_is_said_of_an_architecture_is_said_of_checkpoints_of_it() -> None:
    known = {**ARCHITECTURES, "mine": replace(ARCHITECTURES["llama"], name="mine", like="llama")}
    known["other"] = replace(ARCHITECTURES["llama"], name="other", like="gemma9")
    for text, names in (
        ("architecture=llama", {"llama", "mine"}),
        ("architecture=mine", {"mine"}),
        ("architecture=gemma9", {"other"}),
        ("architecture=gemma*", {"other"}),
        ("architecture=!llama", set(known) - {"llama", "mine"}),
    ):
        assert parse_selection(text, known, absent=True).allowed["architecture"] == names, text
