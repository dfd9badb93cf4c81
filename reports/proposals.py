"""Rules that a run contradicts, and what they should say instead: as TOML, and as a patch of their file."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

from packaging.version import InvalidVersion, Version
from pydantic import Field

from matrix.cell import AXES
from matrix.errors import UsageError
from matrix.expectation import FOLDER, Expectation, Outcome, Rule, load_rules
from matrix.observation import Failure
from matrix.stack import Stack
from matrix.verdict import Verdict
from reports.document import Record
from reports.part import Part
from reports.standing import Standing, known_architectures, standing_of
from reports.words import of_any_model, words_of

# In this order a proposed rule leaves axes open, as far as nothing that was measured speaks against it.
_OPENED = ("workload", "padding", "cache", "device_map", "quantisation", "dtype", "sdpa_kernel", "transformation")
_WIDENED = (*_OPENED, "attention", "architecture")
_LONGEST_MESSAGE = 120
_MOST = 20  # rules, and parts of one: whoever has more of them changes them by hand
_ANY_MODEL = "<model>"
# By which of several libraries that were raised a rule tells the stacks apart.
_LIKELIEST = ("transformers", "torch")

Box = dict[str, set[str]]


class Proposal(Part):
    """A rule that is out of date."""

    why: str
    cells: int = Field(description="of the run, that contradict it")
    rule: str = Field(description="where it stands: a file of the suite and the number of the rule; else empty")
    toml: str = Field(description="what stands before it from now on, or in a file of yours: --expectations=PATH")
    patch: str = Field(default="", description="the same for the suite's own file, for git apply")


def proposals(records: Sequence[Record], stack: Stack, raised: Sequence[str]) -> list[Proposal]:
    """What the rules should say of the cells of a run that contradict them; `raised` are the libraries that differ."""
    gathered: dict[tuple[Expectation, str, str, frozenset[str]], list[Record]] = {}
    for record in records:
        if key := _contradicted(record, stack):
            gathered.setdefault(key, []).append(record)
    rules = [_proposal(same, records, stack, raised) for same in islice(gathered.values(), _MOST)]
    return [*rules, *_kept(records, stack)]


def _kept(records: Sequence[Record], stack: Stack) -> Iterator[Proposal]:
    """What the architectures of the suite should say of modules that their library keeps in float32."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.verdict is Verdict.SUBSTITUTED and record.waived is None:
            name = record.axes["architecture"]
            if name in known_architectures() and standing_of(record, stack.device) is Standing.WORKS:
                found.setdefault(name, []).append(record)
    for name, same in found.items():
        kept = known_architectures()[name].kept_float32
        parameters = {
            parameter for one in same for parameter in one.observation.evidence.foreign_parameters.get("float32", ())
        }
        strangers = [one for one in parameters if not any(f".{part}." in f".{one}." for part in kept)]
        modules = dict.fromkeys([*kept, *sorted({one.split(".")[-2] for one in strangers if "." in one})])
        toml = f"kept_float32 = [{', '.join(map(_quoted, modules))}]\n"
        why = "its library keeps modules in float32 of which it does not know"
        yield Proposal(why=why, cells=len(same), rule=f"matrix/architectures/{name}.toml", toml=toml)


def _contradicted(record: Record, stack: Stack) -> tuple[Expectation, str, str, frozenset[str]] | None:
    expectation = replace(record.expectation, phase=None)  # one rule speaks of several
    if record.verdict is Verdict.UNEXPECTED and standing_of(record, stack.device) is Standing.WORKS:
        return expectation, "", "", frozenset()
    failure = record.observation.failure
    refuses = standing_of(record, stack.device) is Standing.RAISES  # and does not break
    if record.verdict is Verdict.ERROR and refuses and failure is not None and expectation.type and not record.waived:
        return expectation, failure.type, failure.phase, words_of(of_any_model(failure.message))
    return None


def _proposal(same: Sequence[Record], records: Sequence[Record], stack: Stack, raised: Sequence[str]) -> Proposal:
    first = same[0]
    failure = first.observation.failure if first.verdict is Verdict.ERROR else None
    inside = {record.cell for record in same}
    # Whatever else was measured must be judged as before; what should work may stand in a rule that says so.
    others = [
        record.axes
        for record in records
        if record.cell not in inside and (failure is not None or record.verdict is not Verdict.SUPPORTED)
    ]
    boxes = _boxes([record.axes for record in same], others)
    toml = "\n".join(_toml(box, first.expectation, failure, stack, raised) for box in boxes)
    path, number = _place(first.expectation, stack)
    where = f"{path.relative_to(FOLDER.parent.parent)}: rule {number}" if path else ""
    why = "what it says is refused is right now" if failure is None else "the documented error is another one now"
    return Proposal(why=why, cells=len(same), rule=where, toml=toml, patch=_patch(path, number, toml) if path else "")


def _boxes(cells: Sequence[Mapping[str, str]], others: Sequence[Mapping[str, str]]) -> Iterator[Box]:
    """Sets of values by axis that hold these cells and none of the others, as few and as wide as a few steps find."""
    left = list(cells)
    # No box is wider than all of the cells in these.
    within = {axis: {cell[axis] for cell in cells} for axis in ("attention", "architecture")}
    others = [other for other in others if _holds(within, other)]
    for _ in range(_MOST):
        if not left:
            return
        box: Box = {axis: {value} for axis, value in left[0].items()}
        for axis in _WIDENED:
            rest = {name: values for name, values in box.items() if name != axis}
            taken = {other[axis] for other in others if _holds(rest, other)}
            if axis in _OPENED and not taken:
                box = rest
            else:
                box = rest | {axis: box[axis] | {cell[axis] for cell in cells} - taken}
        yield box
        left = [cell for cell in left if not _holds(box, cell)]


def _holds(box: Box, cell: Mapping[str, str]) -> bool:
    return all(cell[axis] in values for axis, values in box.items())


def _toml(box: Box, expectation: Expectation, failure: Failure | None, stack: Stack, raised: Sequence[str]) -> str:
    library = next((name for name in (*_LIKELIEST, *raised) if name in raised), None)
    since = _plain_version(stack.versions.get(library, "")) if library else ""
    when = [f"device = {_quoted(stack.device)}", *([f"{library} = {_quoted(f'>={since}')}"] if since else [])]
    clauses = " ".join(f"{axis}={','.join(sorted(box[axis]))}" for axis in ("architecture", *AXES) if axis in box)
    lines = ["[[rule]]", f"cells = {_quoted(clauses)}", f"when = {{ {', '.join(when)} }}"]
    measured = f"measured with {library} {since}" if since else "measured"
    if failure is None:
        lines += [
            f"outcome = {_quoted(Outcome.SUPPORTED)}",
            f"source = {_quoted(f'{measured}; before: {expectation.source}')}",
        ]
    else:
        lines += [
            f"outcome = {_quoted(expectation.outcome)}",
            f"phase = {_quoted(failure.phase)}",
            f"type = {_quoted(failure.type)}",
            f"message = {_quoted(_pattern(failure.message))}",
            *([f"cause = {_quoted(_pattern(failure.causes[0]))}"] if expectation.cause and failure.causes else []),
            *([f"missing = [{', '.join(map(_quoted, expectation.missing))}]"] if expectation.missing else []),
            f"source = {_quoted(f'{measured}; before: {expectation.source}')}",
        ]
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """A string of TOML."""
    line = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return json.dumps(line, ensure_ascii=False)


def _pattern(message: str) -> str:
    """A regular expression for a message: its beginning up to the first path, of any model."""
    line = of_any_model(" ".join(message.split()))
    words: list[str] = []
    for word in line.split(" "):
        if "/" in word or len(" ".join([*words, word])) > _LONGEST_MESSAGE:
            break
        words.append(word)
    return re.escape(" ".join(words)).replace(re.escape(_ANY_MODEL), r"\w+") or "."


def _plain_version(version: str) -> str:
    try:
        return Version(version).public
    except InvalidVersion:
        return ""


def _place(expectation: Expectation, stack: Stack) -> tuple[Path | None, int]:
    """The file of the suite in which the rule stands, and its number; none if it is another's."""
    for rule in _rules():
        said = rule.expectation
        same = (said.outcome, said.source, said.type, said.message, said.cause) == (
            expectation.outcome,
            expectation.source,
            expectation.type,
            expectation.message,
            expectation.cause,
        )
        if same and rule.condition.holds(stack):
            path, _, number = rule.place.rpartition(": rule ")
            return Path(path), int(number)
    return None, 0


@cache
def _rules() -> tuple[Rule, ...]:
    return load_rules(known_architectures())


def _patch(path: Path, number: int, toml: str) -> str:
    """The file with these rules before that one, as a unified diff."""
    try:
        before = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    at = [place for place, line in enumerate(before) if line.startswith("[[rule]]")][number - 1]
    while at and before[at - 1].startswith("#"):
        at -= 1
    after = [*before[:at], *f"{toml}\n".splitlines(keepends=True), *before[at:]]
    name = path.relative_to(FOLDER.parent.parent).as_posix()
    return "".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"))
