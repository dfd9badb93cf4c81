"""What is published says nothing of the machine."""

import sys
from pathlib import Path

from reports.printable import printable, private_places


def test_private_folders_are_replaced_longest_first() -> None:
    places = {"/home/me": "~", "/home/me/.cache/fixtures": "FIXTURES"}
    assert printable("see /home/me/.cache/fixtures/t5-1 and /home/me/x", places) == "see FIXTURES/t5-1 and ~/x"


def test_this_machine_is_not_named(tmp_path: Path) -> None:
    text = f"{Path.home()}/a {sys.prefix}/lib {Path.cwd()}/b {tmp_path}/fixtures/c"
    said = printable(text, private_places(tmp_path / "fixtures"))
    assert said.startswith("~/a PYTHON/lib ./b FIXTURES/c")


def test_a_fixture_is_called_the_same_in_every_release() -> None:
    """Else an upgrade would change every message that quotes the folder."""
    places = {"/cache": "FIXTURES"}
    said = {printable(f"https://hub/cache/bloom-{digest}/new", places) for digest in ("4319997b5d40", "21cd9596e7ee")}
    assert said == {"https://hubFIXTURES/bloom/new"}
    assert printable("/cache/t5-small-4319997b5d4/x", places) == "FIXTURES/t5-small-4319997b5d4/x"


def test_what_utf8_cannot_hold_is_written_as_an_escape() -> None:
    assert printable("no such file: a\udc80b", {}) == "no such file: a\\udc80b"


def test_what_steers_a_terminal_is_written_as_an_escape_but_lines_end() -> None:
    assert printable("\x1b]0;title\x07 of\0 \x9bK\x7f\ta\nb", {}) == "\\x1b]0;title\\x07 of\\x00 \\x9bK\\x7f\ta\nb"


def test_a_long_message_keeps_both_ends() -> None:
    said = printable("begin" + "x" * 100_000 + "end", {})
    assert len(said) < 5_000
    assert said.startswith("begin")
    assert said.endswith("end")
