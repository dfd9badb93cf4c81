"""Which rows and tokens are wrong, in words and as a map of characters."""

import math
from collections.abc import Collection, Sequence

UNJUDGED, WITHIN, NOT_FINITE = " ", ".", "#"
_ROWS_NAMED = 4
_BLOCKS = (4, 8, 16, 32, 64, 128)
SCATTERED = "scattered tokens"
_BY_PADDING = ("padded rows only", "unpadded rows only")


def map_row(ratios: Sequence[float | None]) -> str:
    """One row of the map, a character for each position, of the error there in units of what is allowed.

    A dot where it is within, a digit for half orders of magnitude beyond, `#` where it is not finite, a blank where
    nothing is judged.
    """
    return "".join(map(_character, ratios))


def _character(ratio: float | None) -> str:
    if ratio is None:
        return UNJUDGED
    if not math.isfinite(ratio):
        return NOT_FINITE
    return WITHIN if ratio <= 1 else str(min(9, 1 + int(2 * math.log10(ratio))))


def words(rows: Sequence[str], padded: Collection[int] | None = None) -> str:
    """The pattern of a map: which rows, and which of their tokens, counted from each row's first that is judged.

    `padded` are the rows that are; if it is not said, those with fewer tokens than the longest.
    """
    tokens = [row.strip(UNJUDGED) for row in rows]
    judged = {number for number, row in enumerate(tokens) if row}
    wrong = {number for number in judged if set(tokens[number]) - {WITHIN, UNJUDGED}}
    if not wrong:
        return "everywhere a little"
    where = _tokens([tokens[number] for number in sorted(wrong)])
    if padded is None:
        padded = {number for number in judged if len(tokens[number]) < max(map(len, tokens))}
    which = _rows(wrong, judged, judged & set(padded))
    if where == SCATTERED and which not in _BY_PADDING:  # then neither is the choice of rows anything but chance
        return SCATTERED
    return "every row and token" if not where and not which else ", ".join(filter(None, (which, where)))


def _rows(wrong: set[int], judged: set[int], padded: set[int]) -> str:
    if wrong == judged:
        return ""
    if padded and wrong == padded:
        return _BY_PADDING[0]
    if padded and wrong == judged - padded:
        return _BY_PADDING[1]
    if len(wrong) > _ROWS_NAMED:
        return "some rows"
    return f"row{'s' if len(wrong) > 1 else ''} {', '.join(map(str, sorted(wrong)))} only"


def _tokens(rows: Sequence[str]) -> str:
    """What the wrong tokens of the rows that have any have in common; empty for all of them."""
    places = [{at for at, character in enumerate(row) if character not in (WITHIN, UNJUDGED)} for row in rows]
    lengths = [len(row) for row in rows]
    if all(len(found) == length for found, length in zip(places, lengths, strict=True)):
        return ""
    if all(found == {0} for found in places):
        return "first token only"
    if all(found == {length - 1} for found, length in zip(places, lengths, strict=True)):
        return "last token only"
    first = min(map(min, places))
    if all(found == set(range(first, length)) for found, length in zip(places, lengths, strict=True) if length > first):
        return f"from token {first} on"
    last = max(map(max, places))
    if all(found == set(range(min(last + 1, length))) for found, length in zip(places, lengths, strict=True)):
        return f"up to token {last}"
    for block in _BLOCKS:
        remainders = {at % block for found in places for at in found}
        if len(remainders) == 1 and sum(map(len, places)) > len(places):
            return f"one token of each block of {block}"
    return SCATTERED
