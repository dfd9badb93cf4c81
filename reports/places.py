"""How often the place of a fault is found that was planted in one module."""

from collections.abc import Iterator
from pathlib import Path

from matrix.stack import Device, Stack
from reports.part import Part

FOLDER = Path(__file__).parent / "power"


class PlaceTrial(Part):
    """One fault in one module of one model, and which module was named."""

    fault: str
    cell: str
    seen: bool  # whether the cell was out of bounds at all
    expected: str
    named: str | None
    before: bool  # whether what was named ends before the faulty module does
    pattern: str  # of rows and tokens
    expected_pattern: str  # where the fault has one of its own

    @property
    def exact(self) -> bool:
        """Whether the module is the one."""
        return self.named == self.expected


class Places(Part):
    """All trials of one device."""

    stack: Stack
    trials: list[PlaceTrial]

    @property
    def seen(self) -> list[PlaceTrial]:
        """Those that can be asked: of what drowns no cell fails."""
        return [trial for trial in self.trials if trial.seen]


def published_places(device: Device) -> Places:
    """What was measured on such a device."""
    return Places.model_validate_json((FOLDER / f"places-{device.value}.json").read_text(encoding="utf-8"))


def places_lines(places: Places) -> Iterator[str]:
    """By fault how often the module was named, then each that was not."""
    for fault in dict.fromkeys(trial.fault for trial in places.trials):
        own = [trial for trial in places.trials if trial.fault == fault]
        seen = [trial for trial in own if trial.seen]
        exact = sum(trial.exact for trial in seen)
        yield f"{fault:18} {exact:3} of {len(seen):3} named, {len(own) - len(seen)} below noise"
    seen = places.seen
    for trial in seen:
        if not trial.exact:
            where = "before it" if trial.before else "elsewhere"
            yield f"{trial.fault} in {trial.cell}: {trial.named!r} instead of {trial.expected!r} ({where})"
        if trial.expected_pattern and trial.pattern != trial.expected_pattern:
            yield f"{trial.fault} in {trial.cell}: {trial.pattern!r} instead of {trial.expected_pattern!r}"
    exact, before = sum(trial.exact for trial in seen), sum(trial.before for trial in seen)
    patterns = [trial.pattern == trial.expected_pattern for trial in seen if trial.expected_pattern]
    yield f"{exact} of {len(seen)} named exactly, {before} before it"
    yield f"rows and tokens right in {sum(patterns)} of {len(patterns)}"
