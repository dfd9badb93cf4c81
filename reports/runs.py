"""The reports of a folder, each named, in the order in which a reader would compare them."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matrix.errors import UsageError
from matrix.stack import Device
from reports.advice import Advice, Held, read_advice
from reports.differences import Diff
from reports.document import Report, complaint
from reports.packed import SUFFIX, plain_name
from reports.reading import NoReport, read_report
from reports.support import version_order
from reports.text import device_of

_USUAL = ("matrix.json", "advice.json")  # what the folder of a run or an advice calls it; the folder tells which it is


@dataclass(frozen=True)
class Published:
    """One run of the site."""

    name: str  # of its files
    source: Path
    report: Report

    @property
    def document(self) -> str:
        """The name of its data, packed if the source is."""
        return f"{self.name}.json{'.gz' if self.source.suffix == '.gz' else ''}"

    @property
    def device(self) -> str:
        """The GPU, how many if several, or CPU."""
        gpus = len(self.report.run.stack.gpus)
        return f"{gpus} × {device_of(self.report.run.stack)}" if gpus > 1 else device_of(self.report.run.stack)


@dataclass(frozen=True)
class PublishedAdvice:
    """What was advised for one model on one device."""

    name: str  # of its files
    source: Path
    advice: Advice


@dataclass(frozen=True)
class Comparison:
    """What became of the cells and rows of one run in another."""

    before: Published
    after: Published
    diff: Diff

    @property
    def name(self) -> str:
        """Of its page."""
        return f"{self.before.name}--{self.after.name}"


@dataclass
class Collection:
    """What a folder holds."""

    runs: list[Published] = field(default_factory=list)  # by device, then from old to new
    unreadable: list[str] = field(default_factory=list)  # reports that are broken
    passed_over: list[Path] = field(default_factory=list)  # JSON that is something else
    advices: list[PublishedAdvice] = field(default_factory=list)  # by device and model

    def held(self, one: PublishedAdvice) -> list[tuple[Held, PublishedAdvice]]:
        """What became of it where everything was measured, and which advice says so."""
        found = ((one.advice.held_by(other.advice), other) for other in self.advices if other is not one)
        return [(held, other) for held, other in found if held is not None]

    @property
    def asked_for(self) -> list[PublishedAdvice]:
        """The advices without those that were made to hold others of them against everything."""
        evidence = [other.name for one in self.advices for _, other in self.held(one)]
        return [one for one in self.advices if one.name not in evidence]


def collect(folder: Path, site: Path) -> Collection:
    """Every matrix.json and NAME.json in a folder and its folders, packed or not, but for those of the site itself.

    Raises:
        UsageError: there is no such folder, or no report in it.
    """
    if not os.path.isdir(folder):  # unlike Path.is_dir it answers for what can be no path
        raise UsageError(f"{folder}: no such folder; name one that holds matrix.json files")
    if site.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageError(f"--output {site}: holds the reports themselves; name another folder")
    found = Collection()
    seen: set[bytes] = set()
    for path in sorted([*folder.rglob("*.json"), *folder.rglob(f"*{SUFFIX}")]):
        if not path.is_file() or site.resolve() in path.resolve().parents:
            continue
        try:
            report = read_report(path)
        except NoReport:
            _take_advice(path, folder, found)
            continue
        except UsageError as error:
            found.unreadable.append(complaint(str(error).replace(f"{folder}/", "", 1)))
            continue
        digest = hashlib.sha256(report.model_dump_json().encode()).digest()
        if digest not in seen:  # a copy, packed or not, or a link to the latest run
            seen.add(digest)
            found.runs.append(Published(_name_of(path, folder, found.runs), path, report))
    if not found.runs:
        raise UsageError(f"{folder}: no report in it; python -m pytest writes reports/out/RUN/matrix.json")
    found.runs.sort(key=_order)
    found.advices.sort(key=lambda one: (one.advice.hardware, one.advice.model.parameters, one.name))
    return found


def _take_advice(path: Path, folder: Path, found: Collection) -> None:
    """JSON that is no report may be an advice, else it is passed over."""
    try:
        advice = read_advice(path)
    except UsageError:
        found.passed_over.append(path)
        return
    found.advices.append(PublishedAdvice(_name_of(path, folder, found.advices), path, advice))


def _name_of(path: Path, folder: Path, taken: Sequence[Published | PublishedAdvice]) -> str:
    relative = path.relative_to(folder).with_name(plain_name(path))
    named = relative.parent if relative.name in _USUAL and relative.parent.parts else relative.with_suffix("")
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(named.parts)).strip("-.") or "run"
    names = {run.name.lower() for run in taken}  # some file systems do not tell A from a
    return next(name for name in _numbered(plain[:100]) if name.lower() not in names)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _order(run: Published) -> tuple[object, ...]:
    stack = run.report.run.stack
    releases = (version_order(stack.versions.get(name, "")) for name in ("transformers", "torch"))
    return stack.device is not Device.CUDA, len(stack.gpus), device_of(stack), *releases, run.report.run.started
