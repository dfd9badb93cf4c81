"""What passes in a text is none of its words, and everything else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.words import kind_of_module, of_any_model, words_of
from tests.builders import PROPERTY

HEX = st.text("0123456789abcdef", min_size=8, max_size=40).filter(lambda text: any(c.isdigit() for c in text))
PATHS = st.builds("/{}/{}".format, st.text("abcxyz-_.0189", min_size=1), st.text("abcxyz-_.0189", min_size=1))
NUMBERS = st.integers(0, 10**12).map(str) | st.floats(0, 1e6, allow_nan=False).map("{:.3g}".format)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("FIXTURES/t5-08e3b7d21f9c/discussions/new", "FIXTURES/t5/discussions/new"),
        ("the folder t5-08e3b7d21f9c", "the folder t5-ffe3b7d21f90"),
        ("<Foo object at 0x7f12ab>", "<Foo object at 0x55>"),
        ("in /tmp/tmpab12cd34/model.py", r"in C:\Users\me\model.py"),
        ("share memory [{'a.bias', 'b.bias'}].", "share memory [{'b.bias', 'a.bias'}]."),
        ("takes 3 positional arguments", "takes 2 positional arguments"),
        ("1.5e-07 exceeds 0.3", "2 exceeds 1e+20"),
        ("layers.0.weight on cuda:0", "layers.11.weight on cuda:1"),
        ("no answer within 0.5s, 12MiB", "no answer within 31s, 4MiB"),
        ("run 550e8400-e29b-41d4-a716-446655440000", "run 550e8400-e29b-41d4-a716-446655440001"),
        ("wrote tmpa1b2c3d4", "wrote tmpzzzzzzz9"),
    ],
)
def test_what_passes_makes_no_other_text(one: str, other: str) -> None:
    assert words_of(one) == words_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TypeError: no", "ValueError: no"),
        ("flash is not supported", "flash is supported"),
        ("in float16", "in bfloat16"),
        ("no attribute 'to_bettertransformer'", "no attribute 'half'"),
        ("argument 'load_in_8bit'", "argument 'load_in_4bit'"),
        ("gemma2 has no mask", "gemma3 has no mask"),
        ("flash_attention_2 is not here", "flash_attention_3 is not here"),
        ("decade", "facade"),  # words, though of the letters of hexadecimal numbers
    ],
)
def test_another_word_makes_another_text(one: str, other: str) -> None:
    assert words_of(one) != words_of(other)


@PROPERTY
@given(st.data(), st.permutations(["no", "kernel", "for", "this", "mask"]))
def test_no_path_id_number_or_order_is_a_word(data: st.DataObject, order: list[str]) -> None:
    def said(words: list[str]) -> str:
        path, digest, number = data.draw(PATHS), data.draw(HEX), data.draw(NUMBERS)
        return f"{' '.join(words)} in {path} of <Model at 0x{digest}> {digest} after {number}"

    assert words_of(said(["no", "kernel", "for", "this", "mask"])) == words_of(said(order))


@pytest.mark.parametrize("part", ["a", "A", "0", "f0", "For", "AFor", "/", "0x", "tmp", "1.", "-", "é"])
def test_a_text_of_any_make_is_read_in_one_go(part: str) -> None:
    """As long as a report may hold, of what patterns could try again and again."""
    text = part * (100_000 // len(part))
    assert len(words_of(of_any_model(text))) <= 1
    assert kind_of_module(text) in text


def test_what_is_said_of_one_model_is_said_of_any() -> None:
    assert of_any_model("T5ForConditionalGeneration has no SDPA") == of_any_model("GPT2LMHeadModel has no SDPA")
    assert of_any_model("ValueError: no") == "ValueError: no"
    assert {kind_of_module(name) for name in ("LlamaAttention", "GPTNeoXAttention", "T5Attention")} == {"Attention"}
    assert kind_of_module("") == ""
