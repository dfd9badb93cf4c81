"""What a report says, as lines of a terminal: none of it ends a line early, or is a command to a CI service."""

from collections.abc import Iterator

_INDENT = "    "
# With it a line begins, after any blanks, that GitHub takes for a workflow command; and with the other one anywhere.
_COMMAND, _OLD_COMMAND = "::", "##["


def one_line(text: str) -> str:
    """The text on one line."""
    line = " ".join(text.split()).replace(_OLD_COMMAND, "## [")
    return line.replace(_COMMAND, ": :", 1) if line.startswith(_COMMAND) else line


def beneath(text: str) -> Iterator[str]:
    """The lines of a text, indented beneath what they belong to."""
    for line in text.splitlines():
        plain = line.replace(_OLD_COMMAND, "## [")
        blanks = len(plain) - len(plain.lstrip())
        yield _INDENT + plain[:blanks] + (one_line(plain) if plain.lstrip().startswith(_COMMAND) else plain[blanks:])
