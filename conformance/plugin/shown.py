"""What pytest shows of a failure: a library's message may hold anything, and nothing of it steers the terminal."""

from typing import Any

from matrix.errors import harmless

_KEPT = "\n\t"


def make_harmless(report: Any) -> None:
    """Spell out, in the text of a test's report, what a terminal would act upon."""
    said = report.longrepr
    if isinstance(said, str):
        report.longrepr = harmless(said, kept=_KEPT)
    elif isinstance(said, tuple):  # of a skip: file, line, reason
        path, line, reason = said
        report.longrepr = (path, line, harmless(reason, kept=_KEPT))
    for traceback, crash, _ in getattr(said, "chain", ()):
        for entry in traceback.reprentries:
            entry.lines = [harmless(line, kept=_KEPT) for line in entry.lines]
        if crash is not None:
            crash.message = harmless(crash.message, kept=_KEPT)
