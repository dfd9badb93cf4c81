"""One side of a comparison: a whole run, and runs that measured some of its cells again."""

from collections.abc import Sequence
from functools import cached_property

from matrix.rows import RowOutcome
from matrix.stack import Device
from matrix.verdict import Verdict
from reports.document import Record, Report, RowRecord, Waived
from reports.standing import Standing, standing_of
from reports.text import reproducing_command, row_command
from reports.words import of_any_model, words_of


class Side:
    """What each run of a side measured of a cell or row."""

    def __init__(self, runs: Sequence[Report]) -> None:
        self.runs = runs
        self.whole = runs[0]
        self.device: Device = self.whole.run.stack.device
        self.measured: dict[str, list[Record | RowRecord]] = {}
        for run in runs:
            found: list[Record | RowRecord] = [*run.records, *run.rows]
            for one in found:
                self.measured.setdefault(name_of(one), []).append(one)
        for name, ones in self.measured.items():
            # What another run of the side measured is not missing; that it was flaky is never forgotten.
            came = [one for one in ones if not _did_not_come(one)]
            self.measured[name] = came or ones[:1]

    @cached_property
    def sayings(self) -> set[frozenset[str]]:
        """The words of all that libraries raised, whatever the model."""
        return {
            words_of(said) for said in {of_any_model(said_by(one)) for ones in self.measured.values() for one in ones}
        }

    def standings(self, name: str) -> list[Standing]:
        """Where it stands in each run that measured it."""
        return [standing_of(one, self.device) for one in self.measured[name]]

    def records(self, name: str) -> list[Record]:
        """What is known of a cell; of a row nothing."""
        return [one for one in self.measured[name] if isinstance(one, Record)]

    def command(self, one: Record | RowRecord) -> str:
        """What shows it again."""
        if isinstance(one, RowRecord):
            return row_command(one)
        return reproducing_command(one.cell, one.seed, self.whole.run.checkpoints)


def _did_not_come(one: Record | RowRecord) -> bool:
    if isinstance(one, RowRecord):
        return one.outcome is RowOutcome.MISSING
    return one.verdict in (Verdict.MISSING, Verdict.NOT_BUILT)


def name_of(one: Record | RowRecord) -> str:
    """Its name among all cells and rows."""
    return one.key if isinstance(one, RowRecord) else one.cell


def word_of(one: Record | RowRecord) -> str:
    """The verdict of a cell or the outcome of a row, and whether it is a known fault."""
    return f"{one.word}, known" if one.waived is not None else one.word


def fault_of(waived: Waived) -> str:
    """A known fault, with the place where it is known."""
    return f"{waived.reason} ({waived.url})"


def said_by(one: Record | RowRecord) -> str:
    """What was raised, type and message, or empty."""
    if isinstance(one, RowRecord):
        return one.reason
    failure = one.observation.failure
    return f"{failure.type}: {failure.message}" if failure else ""
