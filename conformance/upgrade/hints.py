"""Which file of a package to look at first: that of the module that went wrong, if it is another one in both releases.

Files are read, nothing is imported.
"""

import difflib
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from conformance.upgrade.environments import Environment
from reports.document import Record, RowRecord

_SOURCES = Path(__file__).with_name("sources.py")
_CLASS = re.compile(r"class (\w+)\b")
_LARGEST = 4_000_000  # bytes of a source file
_MOST = 3  # files that are named


def hints(
    found: Iterable[Record | RowRecord | None], packages: Sequence[str], before: Environment, after: Environment
) -> tuple[str, ...]:
    """The files of these packages that the records point to and that differ, in words.

    Args:
        found: what a cell left behind after the change, and before it; the first that points somewhere counts.
        packages: those that were changed.
        before: where they are as they were.
        after: where they are as they became.
    """
    for record in found:
        if isinstance(record, Record) and (named := tuple(_of_record(record, packages, before, after))):
            return named[:_MOST]
    return ()


def _of_record(record: Record, packages: Sequence[str], before: Environment, after: Environment) -> Iterator[str]:
    classes, files = modules_of(record), frames_of(record)
    for package in packages:
        old, new = (_folders(package, environment) for environment in (before, after))
        for name in sorted(old.keys() & new.keys()):
            yield from _changed(name, old[name], new[name], classes, files)


def _folders(package: str, environment: Environment) -> dict[str, Path]:
    """Where the sources of a package are, by the names by which it is imported; nothing where that cannot be said."""
    command = [str(environment.python), "-P", str(_SOURCES), package]
    try:
        answer = subprocess.run(command, env=environment.environ(), capture_output=True, text=True, check=False)
    except OSError:
        return {}
    return {name: Path(folder) for name, folder in json.loads(answer.stdout or "{}").items()}


def modules_of(record: Record) -> tuple[str, ...]:
    """The classes of modules that a record points to, the surest first."""
    seen = record.observation
    named = (
        seen.origin.kind if seen.origin else "",
        seen.failure.module_class if seen.failure else "",
        *seen.evidence.attention_classes,
    )
    return tuple(dict.fromkeys(filter(None, named)))


def frames_of(record: Record) -> tuple[str, ...]:
    """The files in which it raised, `package/path.py`, the innermost first."""
    failure = record.observation.failure
    return tuple(frame.partition(":")[0] for frame in reversed(failure.frames)) if failure else ()


def _changed(top: str, old: Path, new: Path, classes: Sequence[str], files: Sequence[str]) -> Iterator[str]:
    """What differs of a package's folder: where it raised, then where the classes are."""
    for file in dict.fromkeys(files):
        within = Path(file).parts[1:]
        if file.startswith(f"{top}/") and (
            lines := _differing(_text(old.joinpath(*within)), _text(new.joinpath(*within)))
        ):
            yield f"{file}, in which it raises, differs in {_lines(lines)}"
    for name in classes:
        for path in _defining(new, name):
            place = path.relative_to(new)
            before, after = _text(old / place), _text(path)
            if lines := _differing(_of_class(before, name), _of_class(after, name)):
                yield f"{top}/{place.as_posix()}: class {name} differs in {_lines(lines)}"
            elif lines := _differing(before, after):
                yield f"{top}/{place.as_posix()}, which has class {name}, differs in {_lines(lines)}"


def _defining(folder: Path, name: str) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        # The file from which others are generated would be named twice.
        if not path.name.startswith("modular_") and re.search(
            rf"^class {re.escape(name)}\b", _text(path), re.MULTILINE
        ):
            yield path


def _of_class(text: str, name: str) -> str:
    """The lines of a class of the outermost level."""
    lines = text.splitlines(keepends=True)
    begins = [at for at, line in enumerate(lines) if (found := _CLASS.match(line)) and found[1] == name]
    if not begins:
        return ""
    end = next(
        (at for at in range(begins[0] + 1, len(lines)) if lines[at][:1] not in (" ", "\n", "#", ")")), len(lines)
    )
    return "".join(lines[begins[0] : end])


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:_LARGEST].decode("utf-8", "replace")
    except OSError:
        return ""


def _differing(old: str, new: str) -> int:
    """How many lines came, went or became others."""
    if old == new:
        return 0
    steps = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False).get_opcodes()
    return sum(max(a_end - a, b_end - b) for tag, a, a_end, b, b_end in steps if tag != "equal")


def _lines(count: int) -> str:
    return f"{count:,} {'line' if count == 1 else 'lines'}"
