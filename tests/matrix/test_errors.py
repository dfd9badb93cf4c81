"""What a message may look like, whatever it quotes."""

import pytest

from matrix.errors import UsageError, enumerated, harmless, quoted


@pytest.mark.parametrize(
    "text", ["a\nb", "\x1b[31m\x07", "a\u2028b\u202e", "\ud800\0", "x" * 1_000_000, "\x1b" * 1_000_000]
)
def test_a_message_is_one_line_of_moderate_length_that_steers_nothing(text: str) -> None:
    said = str(UsageError(f"begin {text} end"))
    assert said.isprintable()
    assert said.startswith("begin ")
    assert said.endswith(" end")
    assert len(said) < 2_000
    assert str(UsageError(said)) == said


def test_plain_messages_stay_as_they_are() -> None:
    assert str(UsageError("größer als 5 …")) == "größer als 5 …"
    assert harmless("a\nb\tc") == "a\nb\\tc"
    assert harmless("a\nb\tc", kept="\t") == "a\\nb\tc"


def test_a_long_value_is_cut_in_its_middle_and_a_long_list_at_its_end() -> None:
    assert quoted("abc") == "'abc'"
    assert quoted("a" * 100_000).startswith("'aaa")
    assert len(quoted("a" * 100_000)) <= 200
    assert enumerated(["a", "b"]) == "a, b"
    assert enumerated(f"name_{number}" for number in range(1_000)).endswith(" and 899 more")
