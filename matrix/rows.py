"""Rows beside the cells: reported failures, properties of kernels, the guide's recipes and claims."""

from enum import StrEnum


class Family(StrEnum):
    """What a row asks."""

    REGRESSION = "regression"  # does a reported failure still happen?
    PROPERTY = "property"  # does a kernel do what it must for every call that it accepts?
    GUIDE = "guide"  # does a recipe of the guide do what it says, or is it refused as documented?
    CLAIM = "claim"  # is what the guide says of speed, memory and quality so?
    EAGER = "eager"  # what does eager attention, the yardstick of all cells, itself compute?


class RowOutcome(StrEnum):
    """What was found."""

    HOLDS = "holds"
    REFUSED = "refused"  # a library refuses it, in its documented words
    VIOLATED = "violated"
    UNAVAILABLE = "unavailable"  # this device or stack does not have what it is about
    MISSING = "missing"  # planned, no record

    def of(self, family: Family) -> str:
        """The word for it in that family."""
        return _WORDS.get((family, self), self.value)


_WORDS = {
    (Family.REGRESSION, RowOutcome.HOLDS): "fixed",
    (Family.REGRESSION, RowOutcome.VIOLATED): "still there",
    (Family.REGRESSION, RowOutcome.UNAVAILABLE): "not reachable here",
    (Family.GUIDE, RowOutcome.HOLDS): "supported",
    (Family.GUIDE, RowOutcome.VIOLATED): "not as documented",
    (Family.CLAIM, RowOutcome.VIOLATED): "does not hold",
    (Family.CLAIM, RowOutcome.UNAVAILABLE): "not measured",
    (Family.EAGER, RowOutcome.HOLDS): "computed",
    (Family.EAGER, RowOutcome.VIOLATED): "not computed",
}
