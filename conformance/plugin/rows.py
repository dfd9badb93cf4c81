"""Tests whose outcome is a row of the report: each is one of a family."""

import re
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from conformance.plugin.settings import Settings
from matrix.claims import CLAIMS
from matrix.errors import harmless
from matrix.rows import Family, RowOutcome
from matrix.waiver import row_waiver_for
from reports.document import EagerTrace, Point, Record, RowRecord, waived_by
from reports.printable import printable, private_places

CELLS = "conformance/test_cells.py"  # beside the files of rows
FAMILY_OF_FILE = {
    "conformance/test_regressions.py": Family.REGRESSION,
    "conformance/test_sdpa_kernels.py": Family.PROPERTY,
    "conformance/test_guide.py": Family.GUIDE,
    "conformance/test_claims.py": Family.CLAIM,
    "conformance/test_eager.py": Family.EAGER,
}
_TEST = re.compile(r"test_(?:regression|guide|claim|eager)\[(?P<given>.+)\]|test_(?P<test>.+)")
_LONGEST = 1000


@dataclass(frozen=True)
class Finding:
    """What a test that passes found out, where that is more than that its row holds."""

    outcome: RowOutcome
    reason: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    eager: EagerTrace | None = None


FINDING = pytest.StashKey[Finding]()  # on the item


def row_key(nodeid: str) -> str | None:
    """`family:name` of the row that a test measures, or None for other tests."""
    path, _, test = nodeid.partition("::")
    family = FAMILY_OF_FILE.get(path)
    found = _TEST.fullmatch(test)
    if family is None or found is None:
        return None
    return f"{family.value}:{found['given'] or found['test']}"


def family_of(nodeid: str) -> Family | None:
    """The family of the row that a test measures, or None for other tests."""
    return FAMILY_OF_FILE.get(nodeid.partition("::")[0]) if row_key(nodeid) else None


def row_record(item: pytest.Item, call: pytest.CallInfo[None], report: Any, settings: Settings) -> RowRecord | None:
    """The record of a test that has ended, or None if it is no row or goes on."""
    key = row_key(item.nodeid)
    ended = call.when == "call" or (call.when == "setup" and report.outcome != "passed")
    if key is None or not ended:
        return None
    family, name = _family_and_name(key)
    about, urls = _described(family, name, settings)
    documented = getattr(getattr(item, "function", None), "__doc__", None) or ""
    outcome = {"passed": RowOutcome.HOLDS, "skipped": RowOutcome.UNAVAILABLE}.get(report.outcome, RowOutcome.VIOLATED)
    if family is Family.CLAIM and outcome is RowOutcome.VIOLATED:
        outcome = RowOutcome.MISSING  # measuring broke down: that says nothing of the claim, and must not seem to
    finding = item.stash.get(FINDING, Finding(outcome)) if outcome is RowOutcome.HOLDS else Finding(outcome)
    error = call.excinfo.value if call.excinfo is not None else None
    places = private_places(settings.fixture_cache)
    waiver = row_waiver_for(name, settings.stack, settings.waivers) if outcome is RowOutcome.VIOLATED else None
    return RowRecord(
        family=family,
        name=name,
        about=about or documented.strip().partition("\n")[0],
        urls=urls,
        outcome=finding.outcome,
        reason=printable(finding.reason or _said(error, outcome), places),
        example=_shortened(printable("\n".join(getattr(error, "__notes__", ())), places)),
        waived=waived_by(waiver),
        seconds=round(report.duration, 3),
        figures=finding.figures,
        points=finding.points,
        eager=finding.eager,
    )


def excuse(report: Any, record: Record | RowRecord) -> None:
    """Make pytest's report of what is waived an expected failure."""
    if record.waived is not None:
        report.outcome = "skipped"
        report.wasxfail = harmless(f"waived: {record.waived.reason} {record.waived.url}")


def device_is_lost() -> bool:
    """Whether this process has a CUDA context that is beyond use."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except Exception:  # any answer but a clean one means that the context is gone
        return True
    return False


def _family_and_name(key: str) -> tuple[Family, str]:
    family, _, name = key.partition(":")
    return Family(family), name


def _described(family: Family, name: str, settings: Settings) -> tuple[str, list[str]]:
    """What a reported failure, recipe or claim is about, and where it was reported; nothing for a property."""
    if family is Family.EAGER:  # its name is an architecture's
        return "", []
    if name in settings.guide.rows:
        return settings.guide.rows[name][0].about, []
    if name in CLAIMS:
        return CLAIMS[name].about, []
    regression = settings.regressions.get(name)
    return (regression.about, list(regression.urls)) if regression else ("", [])


def _said(error: BaseException | None, outcome: RowOutcome) -> str:
    if error is None:
        return ""
    if outcome is RowOutcome.UNAVAILABLE:
        return str(getattr(error, "msg", error))
    # "Violated" and "AssertionError" would only repeat the outcome.
    named = "" if type(error).__name__ in ("Violated", "AssertionError") else f"{type(error).__name__}: "
    return _shortened(f"{named}{error}")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def died_record(key: str, settings: Settings, last_words: str) -> RowRecord:
    """The record of a row in which the process died, about to do what its last words say."""
    family, name = _family_and_name(key)
    about, urls = _described(family, name, settings)
    waiver = row_waiver_for(name, settings.stack, settings.waivers)
    return RowRecord(
        family=family,
        name=name,
        about=about,
        urls=urls,
        outcome=RowOutcome.MISSING if family is Family.CLAIM else RowOutcome.VIOLATED,
        reason="the process died",
        example=last_words,
        waived=waived_by(waiver),
    )
