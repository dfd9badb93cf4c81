"""Rows beside the cells: reported failures and properties of kernels, each with a name and an outcome."""

from enum import StrEnum


class Family(StrEnum):
    """What a row asks."""

    REGRESSION = "regression"  # does a reported failure still happen?
    PROPERTY = "property"  # does a kernel do what it must for every call that it accepts?


class RowOutcome(StrEnum):
    """What was found."""

    HOLDS = "holds"
    VIOLATED = "violated"
    UNAVAILABLE = "unavailable"  # this device or stack does not have what it is about
    MISSING = "missing"  # planned, no record

    def of(self, family: Family) -> str:
        """The word for it in that family."""
        return _OF_REGRESSIONS[self] if family is Family.REGRESSION else self.value


_OF_REGRESSIONS = {
    RowOutcome.HOLDS: "fixed",
    RowOutcome.VIOLATED: "still there",
    RowOutcome.UNAVAILABLE: "not reachable here",
    RowOutcome.MISSING: "missing",
}
