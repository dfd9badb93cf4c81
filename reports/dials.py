"""How well dials are read where the truth is known: the document, what is counted of it, and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from matrix.axes import Dtype
from matrix.dials import KNOBS, Reading, cause, off
from reports.campaign import Campaign
from reports.part import Part

COMMAND = "python -m conformance.dial_power"
SURE = 1.96  # error bars within which the truth is to lie 95 times in 100


class DialTrial(Part):
    """One run and what its dials read: honest, with one dial turned, or with a fault that is no dial."""

    architecture: str
    dtype: Dtype
    seed: int
    cell: str
    dial: str = Field(default="", description="that was turned")
    size: float = Field(default=0.0, description="by how much, in its unit")
    fault: str = Field(default="", description="of conformance/faults, that was seeded instead")
    seen: bool = Field(description="whether the size of the error alone is out of bounds")
    readings: list[Reading]

    @property
    def is_honest(self) -> bool:
        """Whether nothing was seeded."""
        return not self.dial and not self.fault

    @property
    def own(self) -> Reading | None:
        """The reading of the dial that was turned."""
        return next((one for one in self.readings if one.speaks_of(self.dial)), None)

    @property
    def is_read(self) -> bool:
        """Whether the dial that was turned is off."""
        return self.own is not None and self.own.is_off

    @property
    def named(self) -> bool:
        """Whether the first of those that are off is the one that was turned."""
        return bool(first := off(self.readings)) and first[0].speaks_of(self.dial)


class DialPower(Campaign):
    """All trials of one machine. What is left is of one architecture, dtype and seed each."""

    trials: list[DialTrial]

    @property
    def honest(self) -> list[DialTrial]:
        """Runs in which every dial is 0. One that its error alone already fails is left out: it is not honest."""
        return [trial for trial in self.trials if trial.is_honest and not trial.seen]

    @property
    def false_alarms(self) -> list[DialTrial]:
        """Honest runs in which a dial is off."""
        return [trial for trial in self.honest if off(trial.readings)]

    @property
    def turned(self) -> list[DialTrial]:
        """Runs in which a dial was turned, and read to be off."""
        return [trial for trial in self.trials if trial.dial and trial.is_read]


def inside(trials: Iterable[DialTrial]) -> tuple[int, int]:
    """How many readings of honest runs have 0 within 1.96 bars, and of how many."""
    found = [abs(one.value) <= SURE * one.bar for trial in trials for one in trial.readings]
    return sum(found), len(found)


def inside_turned(trials: Iterable[DialTrial]) -> tuple[int, int]:
    """How many readings of a dial that was turned have its size within 1.96 bars, and of how many."""
    pairs = [(trial.size, one) for trial in trials if (one := trial.own) is not None and not one.also]
    return sum(abs(one.value - size) <= SURE * one.bar for size, one in pairs), len(pairs)


def limits(trials: Iterable[DialTrial]) -> dict[tuple[str, Dtype], dict[str, float | None]]:
    """By dial and dtype, then by architecture: the smallest size from which on each is read, with every seed."""
    groups: dict[tuple[str, Dtype], dict[str, dict[float, list[bool]]]] = {}
    for trial in trials:
        if trial.dial:
            sizes = groups.setdefault((trial.dial, trial.dtype), {}).setdefault(trial.architecture, {})
            sizes.setdefault(trial.size, []).append(trial.is_read)
    return {key: {name: _limit(sizes) for name, sizes in by_name.items()} for key, by_name in groups.items()}


def _limit(sizes: dict[float, list[bool]]) -> float | None:
    """The smallest size from which on all were read; those that no seed came to were given up before."""
    limit, tried = None, 0
    for size in sorted(sizes, reverse=True):
        tried = tried or len(sizes[size])
        if len(sizes[size]) < tried or not all(sizes[size]):
            break
        limit = size
    return limit


def dial_lines(power: DialPower) -> Iterator[str]:
    """The counts for a terminal."""
    found = limits(power.trials)
    for name in dict.fromkeys(trial.dial for trial in power.trials if trial.dial):
        yield f"{KNOBS[name].words}, in {KNOBS[name].unit}"
        for dtype in Dtype:
            if (name, dtype) in found:
                said = (f"{architecture} {_size(limit)}" for architecture, limit in found[name, dtype].items())
                yield f"  {dtype:<9} from {', '.join(said)}"
    for dtype in Dtype:
        if any(trial.dtype is dtype for trial in power.honest):
            accused, covered, named, sized = _counted(power, dtype)
            yield (
                f"{dtype}: 0 within 95 % in {covered} honest readings; {accused} honest runs accused; named {named}; "
                f"size within 95 % in {sized}"
            )
    for trial in power.false_alarms:
        yield f"FALSE ALARM {trial.cell}, seed {trial.seed}: {'; '.join(one.said for one in off(trial.readings))}"
    for name, counted in causes(power.trials).items():
        yield f"{name}: " + ", ".join(f"{said} {count}" for said, count in counted.items())


def causes(trials: Iterable[DialTrial]) -> dict[str, dict[str, int]]:
    """By fault of the catalogue, how often its error was laid to which dial; `none` where it was to no dial."""
    found: dict[str, dict[str, int]] = {}
    for trial in trials:
        if trial.fault:
            laid = cause(trial.readings)
            counted = found.setdefault(trial.fault, {})
            word = laid.dial if laid else "none"
            counted[word] = counted.get(word, 0) + 1
    return found


def dial_markdown(power: DialPower) -> str:
    """The same as a page."""
    versions = ", ".join(f"{name} {power.stack.versions[name]}" for name in ("torch", "transformers"))
    dtypes = [dtype for dtype in Dtype if any(trial.dtype is dtype for trial in power.trials)]
    names = list(dict.fromkeys(trial.architecture for trial in power.trials))
    seeds = sorted({trial.seed for trial in power.trials})
    lines = [
        "# What dials can be read to",
        "",
        f"`python -m conformance.dial_power` on {power.stack.hardware}, {versions}, {power.finished:%Y-%m-%d}: "
        f"{', '.join(names)}; seeds {', '.join(map(str, seeds))} of weights and inputs; {len(power.trials):,} runs.",
        "",
        "| | " + " | ".join(dtypes) + " |",
        "|---" * (1 + len(dtypes)) + "|",
    ]
    rows: dict[str, list[str]] = {}
    for dtype in dtypes:
        for title, told in zip(_COUNTED, _counted(power, dtype), strict=True):
            rows.setdefault(title, []).append(told)
    lines += [f"| {title} | {' | '.join(cells)} |" for title, cells in rows.items()]
    lines += ["", "Smallest size that is read, of what was tried, on every architecture that has the dial:", ""]
    lines += ["| dial | unit | " + " | ".join(dtypes) + " |", "|---" * (2 + len(dtypes)) + "|"]
    found = limits(power.trials)
    for name in dict.fromkeys(trial.dial for trial in power.trials if trial.dial):
        cells = [_worst(found.get((name, dtype), {})) for dtype in dtypes]
        lines.append(f"| {KNOBS[name].words} | {KNOBS[name].unit} | {' | '.join(cells)} |")
    laid = causes(power.trials)
    if laid:
        lines += [
            "",
            "What the faults of the catalogue are laid to, and how often:",
            "",
            "| fault | dial |",
            "|---|---|",
        ]
        for name, counted in laid.items():
            lines.append(f"| {name} | {', '.join(f'{said} {count}' for said, count in counted.items())} |")
    return "\n".join(lines) + "\n"


_COUNTED = (
    "honest runs accused",
    "honest readings with 0 within 95 %",
    "turned dials named first",
    "turned dials with their size within 95 %",
)


def _counted(power: DialPower, dtype: Dtype) -> tuple[str, str, str, str]:
    """Of the runs in one dtype what _COUNTED says, each as so many of so many."""
    honest, alarms, turned = (
        [trial for trial in trials if trial.dtype is dtype]
        for trials in (power.honest, power.false_alarms, power.turned)
    )
    named = sum(trial.named for trial in turned)
    return (
        _of(len(alarms), len(honest)),
        _of(*inside(honest)),
        _of(named, len(turned)),
        _of(*inside_turned(turned)),
    )


def _worst(by_name: dict[str, float | None]) -> str:
    """The limit of all architectures, and which of them set it."""
    if not by_name:
        return ""
    name, limit = max(by_name.items(), key=lambda item: float("inf") if item[1] is None else item[1])
    return f"{_size(limit)} ({name})" if len(set(by_name.values())) > 1 else _size(limit)


def _size(limit: float | None) -> str:
    return "none" if limit is None else f"{limit:g}"


def _of(some: int, all_: int) -> str:
    return f"{some:,} of {all_:,}"
