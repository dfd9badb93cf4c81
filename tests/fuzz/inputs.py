"""Inputs: real ones with something broken in them, by the kind of thing that breaks parsers."""

import random
import re
from collections.abc import Callable, Sequence

# As they may stand in a text.
ODD_CHARACTERS = (
    *"\0\a\b\t\n\r\x1b\x7f\x85\xa0\u1680\u2000\u2028\u2029\u202e\u3000\ufeff\ufffe\ud800\udc80\udcff\U0010ffff",
    *"\"'\\{}[]()<>=!,;:#*?$&|~/.-_+%@^`",
    "٣",
    "ſ",
    "İ",
)
# As they may stand in place of a word or number.
ODD_WORDS = (
    "",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "-Infinity",
    "null",
    "None",
    "true",
    "false",
    "-0",
    "-1",
    "1e999",
    "1e-999",
    "9" * 30,
    "9" * 5_000,
    "0x" + "F" * 5_000,
    "1979-05-27",
    "1979-13-45T99:99:99Z",
    "[]",
    "{}",
    "[[]]",
    '""',
    '"\\u0000"',
    '"\\u001b]0;x\\u0007"',
    '"\\ud800"',
    "a{4294967296}",
    '"a{4294967296}"',
    '"(((("',
    '"' + "(" * 3_000 + '"',
    "[" * 200,
    "[" * 50_000,
    '{"a":' * 5_000,
    "{a=" * 300,
    "a." * 3_000,
    "x" * 20_000,
    "..",
    "../../..",
    "/dev/zero",
    "~",
    "~no-such-user",
    "*",
    "!",
    "!*",
    "__class__",
    "import os",
)
# As they may stand within quotes: texts of the right type that mean nothing, or too much.
ODD_TEXTS = (
    "",
    " ",
    "a{4294967296}",
    "(" * 3_000,
    "[",
    "(?<x",
    "a\\nb",
    "\\u0000",
    "\\u001b[31m",
    "..",
    "../x",
    "~",
    "/",
    "*",
    "!",
    ",",
    "=",
    "9" * 5_000,
    ">=" + "9" * 5_000,
    "x" * 5_000,
    "lambda",
    "dtype=float16",
    "https://a/\\u001b",
    "javascript:1",
)
_QUOTED = re.compile(r'"[^"\n]*"')
_WORD = re.compile(r'"[^"\n]*"|[\w.+]+')


def broken_text(draw: random.Random, seeds: Sequence[str]) -> str:
    """A valid text, once to four times broken."""
    text = draw.choice(seeds)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        text = draw.choice(_WAYS)(draw, text, seeds)
    return text


def broken_bytes(draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A valid file, broken as a text is, or in its bits."""
    content = draw.choice(seeds)
    if draw.random() < 0.5:
        texts = [content.decode("utf-8", "surrogateescape")]
        content = broken_text(draw, texts).encode("utf-8", "surrogatepass" if draw.random() < 0.3 else "replace")
    else:
        for _ in range(draw.choice((1, 1, 3))):
            content = draw.choice(_WAYS_OF_BYTES)(draw, content, seeds)
    return content


def _at(draw: random.Random, given: str | bytes) -> int:
    return draw.randrange(len(given) + 1)


def _span(draw: random.Random, given: str | bytes) -> tuple[int, int]:
    begin = _at(draw, given)
    return begin, min(len(given), begin + draw.choice((1, 2, 5, 20, 200)))


def _put_in(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    at = _at(draw, text)
    return text[:at] + draw.choice(ODD_CHARACTERS) + text[at:]


def _around(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    return draw.choice(ODD_CHARACTERS) + text + draw.choice(ODD_CHARACTERS)


def _replace_word(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    words = list(_WORD.finditer(text))
    if not words:
        return draw.choice(ODD_WORDS)
    word = draw.choice(words)
    return text[: word.start()] + draw.choice(ODD_WORDS) + text[word.end() :]


def _replace_quoted(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    words = list(_QUOTED.finditer(text))
    if not words:
        return _replace_word(draw, text, seeds)
    word = draw.choice(words)
    return f'{text[: word.start()]}"{draw.choice(ODD_TEXTS)}"{text[word.end() :]}'


def _swap_words(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    there, here = list(_WORD.finditer(draw.choice(seeds))), list(_WORD.finditer(text))
    if not there or not here:
        return text
    word = draw.choice(here)
    return text[: word.start()] + draw.choice(there)[0] + text[word.end() :]


def _leave_out(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    begin, end = _span(draw, text)
    return text[:begin] + text[end:]


def _double(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    begin, end = _span(draw, text)
    return text[:end] + text[begin:end] * draw.choice((1, 1, 2, 50)) + text[end:]


def _cut(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    return text[: _at(draw, text)]


def _splice(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    other = draw.choice(seeds)
    return text[: _at(draw, text)] + other[_at(draw, other) :]


def _shuffle_lines(draw: random.Random, text: str, seeds: Sequence[str]) -> str:
    lines = text.splitlines(keepends=True)
    draw.shuffle(lines)
    return "".join(lines)


def _flip_bits(draw: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    flipped = bytearray(content or b"\0")
    for _ in range(draw.choice((1, 1, 4, 30))):
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def _cut_bytes(draw: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    return content[: _at(draw, content)]


def _splice_bytes(draw: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    other = draw.choice(seeds)
    return content[: _at(draw, content)] + other[_at(draw, other) :]


def _put_in_bytes(draw: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _at(draw, content)
    return content[:at] + draw.randbytes(draw.choice((1, 2, 8))) + content[at:]


def _huge_length(draw: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    return draw.choice((2**63, 2**64 - 1, 2**32, 0, 1, len(content))).to_bytes(8, "little") + content[8:]


_WAYS: tuple[Callable[[random.Random, str, Sequence[str]], str], ...] = (
    _put_in,
    _around,
    _replace_word,
    _replace_word,
    _replace_quoted,
    _replace_quoted,
    _swap_words,
    _swap_words,
    _leave_out,
    _double,
    _cut,
    _splice,
    _shuffle_lines,
)
_WAYS_OF_BYTES: tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip_bits,
    _cut_bytes,
    _splice_bytes,
    _put_in_bytes,
    _huge_length,
)
