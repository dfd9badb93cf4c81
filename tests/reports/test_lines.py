"""What a report says ends no line early, and commands nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.lines import beneath, one_line
from tests.builders import PROPERTY

PARTS = st.lists(st.sampled_from(["::error::", "##[warning]", "\n", "\r", "\u2028", " ", "\t", "a", ":"]), max_size=12)


def commands(line: str) -> bool:
    """As GitHub's runner reads what a step prints."""
    return line.strip().startswith("::") or "##[" in line


@PROPERTY
@given(PARTS.map("".join))
def test_no_line_is_a_command_or_ends_early(text: str) -> None:
    lines = [one_line(text), *beneath(text)]
    assert not any(commands(line) for line in lines)
    assert all(len(line.splitlines()) <= 1 for line in lines)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\n::error::b", "a ::error::b"), ("::error::b", ": :error::b"), ("flash_attn::forward", "flash_attn::forward")],
)
def test_what_is_no_command_stays_as_it_is(text: str, line: str) -> None:
    assert one_line(text) == line


def test_lines_stand_beneath_with_their_blanks() -> None:
    assert list(beneath("a\n  b")) == ["    a", "      b"]
