"""What was caught of the seeded faults, by the suite and by common rules: the document and its summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import AwareDatetime, Field

from matrix.axes import Dtype
from matrix.stack import Device, Stack
from matrix.verdict import Verdict
from reports.campaign import Campaign, read_campaign
from reports.part import Part

COMMAND = "python -m conformance.power"
FOLDER = Path(__file__).parent / "power"

# The rules that are asked, in the order of the columns.
RULES = {
    "suite": "this suite",
    "size": "by the size of the error alone",
    "transformers": "transformers: atol/rtol, 80 % of rows",
    "assert_close": "torch.testing.assert_close",
    "greedy_text": "same greedy text",
}


class Rules(Part):
    """For each rule, whether it cries foul; None where it was not asked or there were no logits to ask it of."""

    suite: bool
    size: bool | None = Field(default=None, description="the suite without dials and without evidence")
    transformers: bool | None = None
    assert_close: bool | None = None
    greedy_text: bool | None = None


class Trial(Part):
    """One cell with one fault, or without."""

    fault: str = Field(default="", description="its name; empty for an honest run")
    percent: float | None = Field(default=None, description="in the sweep: the error of the softmax scale")
    cell: str
    dtype: Dtype
    architecture: str
    verdict: Verdict
    ratio: float | None = Field(description="the worst ratio of error to bound")
    caught: Rules
    signal_to_noise: float | None = Field(
        default=None, description="of a miss: mean effect in higher precision over eager's mean error in the dtype"
    )

    @property
    def below_noise(self) -> bool:
        """Whether the fault moves the logits by less than eager attention itself is off."""
        return self.signal_to_noise is not None and self.signal_to_noise < 1


class SabotageTrial(Part):
    """One cell in a suite that was itself spoiled."""

    name: str
    stands_for: str
    cell: str
    verdict: Verdict
    reason: str
    caught: bool = Field(description="whether the cell is not green, or what was spoiled was named and mended")


class Power(Campaign):
    """All trials of one machine. What is left is of one architecture and dtype each, or a way to spoil the suite."""

    faults: dict[str, str] = Field(description="name -> the real bug that it stands for")
    trials: list[Trial]
    sabotage: list[SabotageTrial] = Field(default=[], description="the same of the suite itself")


class Tally(Part):
    """How often each rule was asked, and how often it cried foul."""

    asked: dict[str, int]
    caught: dict[str, int]


class FaultPower(Part):
    """One fault over all architectures."""

    name: str
    stands_for: str
    by_dtype: dict[Dtype, Tally]


class PowerSummary(Part):
    """What a report prints."""

    stack: Stack
    finished: AwareDatetime
    architectures: list[str]
    faults: list[FaultPower]
    total: dict[Dtype, Tally]
    honest: dict[Dtype, Tally] = Field(description="runs without a fault: what is caught here is a false alarm")
    misses: list[Trial]
    sabotage: list[SabotageTrial] = Field(default=[], description="cells in a suite that was itself spoiled")
    limits: dict[Dtype, dict[str, float | None]] = Field(
        description="by architecture, the smallest error of the softmax scale that is caught, in per cent"
    )
    size_limits: dict[Dtype, dict[str, float | None]] = Field(
        default={}, description="the same by the size of the error alone, where that was asked"
    )

    def limit(self, dtype: Dtype) -> float | None:
        """The smallest scale error that is caught on every architecture, in per cent."""
        return _on_every_one(self.limits.get(dtype, {}))

    def size_limit(self, dtype: Dtype) -> float | None:
        """The same by the size of the error alone."""
        return _on_every_one(self.size_limits.get(dtype, {}))


def _on_every_one(limits: Mapping[str, float | None]) -> float | None:
    found = [limit for limit in limits.values() if limit is not None]
    return max(found) if found and len(found) == len(limits) else None


def summarise(power: Power) -> PowerSummary:
    """The trials, counted."""
    seeded = [trial for trial in power.trials if trial.fault and trial.percent is None]
    honest = [trial for trial in power.trials if not trial.fault and trial.percent is None]
    swept = [trial for trial in power.trials if trial.percent is not None]
    return PowerSummary(
        stack=power.stack,
        finished=power.finished,
        architectures=list(dict.fromkeys(trial.architecture for trial in seeded)),
        faults=[
            FaultPower(name=name, stands_for=stands_for, by_dtype=_by_dtype(t for t in seeded if t.fault == name))
            for name, stands_for in power.faults.items()
            if any(trial.fault == name for trial in seeded)
        ],
        total=_by_dtype(seeded),
        honest=_by_dtype(honest),
        misses=[trial for trial in seeded if not trial.caught.suite],
        sabotage=power.sabotage,
        limits=_limits(swept, lambda rules: rules.suite),
        size_limits=_limits([one for one in swept if one.caught.size is not None], lambda rules: rules.size is True),
    )


def _by_dtype(trials: Iterable[Trial]) -> dict[Dtype, Tally]:
    groups: dict[Dtype, list[Rules]] = {}
    for trial in trials:
        groups.setdefault(trial.dtype, []).append(trial.caught)
    return {dtype: _tally(groups[dtype]) for dtype in Dtype if dtype in groups}


def _tally(answers: list[Rules]) -> Tally:
    given = {rule: [getattr(answer, rule) for answer in answers] for rule in RULES}
    return Tally(
        asked={rule: sum(said is not None for said in found) for rule, found in given.items()},
        caught={rule: sum(said is True for said in found) for rule, found in given.items()},
    )


def _limits(sweep: Iterable[Trial], caught: Callable[[Rules], bool]) -> dict[Dtype, dict[str, float | None]]:
    groups: dict[tuple[Dtype, str], list[Trial]] = {}
    for trial in sweep:
        groups.setdefault((trial.dtype, trial.architecture), []).append(trial)
    found: dict[Dtype, dict[str, float | None]] = {}
    for (dtype, architecture), trials in groups.items():
        limit = None
        for trial in sorted(trials, key=lambda trial: trial.percent or 0, reverse=True):
            if not caught(trial.caught):
                break
            limit = trial.percent
        found.setdefault(dtype, {})[architecture] = limit
    return found


def read_power(path: Path) -> Power:
    """What `python -m conformance.power` wrote.

    Raises:
        UsageError: the file cannot be read, or is something else.
    """
    return read_campaign(path, Power, COMMAND)


def published_power(device: Device) -> PowerSummary | None:
    """What was last measured with this suite on such a device, or None."""
    path = FOLDER / f"{device.value}.json"
    if not path.is_file():
        return None
    return summarise(read_power(path))


def power_lines(summary: PowerSummary) -> Iterator[str]:
    """The summary for a terminal."""
    width = max((len(fault.name) for fault in summary.faults), default=0)
    yield f"{'caught of tried':<{width}}" + "".join(f"  {dtype.value:>9}" for dtype in Dtype)
    for fault in summary.faults:
        tallies = (fault.by_dtype.get(dtype) for dtype in Dtype)
        counts = (f"{t.caught['suite']}/{t.asked['suite']}" if t else "" for t in tallies)
        yield f"{fault.name:<{width}}" + "".join(f"  {count:>9}" for count in counts)
    for title, tally in (("faults caught", summary.total), ("false alarms on honest runs", summary.honest)):
        yield ""
        yield f"{title:<40}" + "".join(f"  {dtype.value:>12}" for dtype in Dtype)
        for rule, label in RULES.items():
            found = (tally.get(dtype) for dtype in Dtype)
            yield f"{label:<40}" + "".join(f"  {_share(t, rule):>12}" for t in found)
    yield ""
    for dtype in Dtype:
        limit, by_size = summary.limit(dtype), summary.size_limit(dtype)
        said = f"{limit:g} % of softmax scale" if limit is not None else "none"
        yield f"detection limit in {dtype}: {said}" + (f"; {by_size:g} % by size alone" if by_size is not None else "")
    if summary.sabotage:
        caught = sum(trial.caught for trial in summary.sabotage)
        yield f"sabotage of the suite itself: {caught} of {len(summary.sabotage)} cells not green"
        for name, trials in sabotage_by_name(summary.sabotage).items():
            ended = ", ".join(dict.fromkeys(ending(trial) for trial in trials))
            yield f"  {name}: {sum(trial.caught for trial in trials)}/{len(trials)} {ended}"
    for miss in summary.misses:
        to_noise = "not measured" if miss.signal_to_noise is None else f"{miss.signal_to_noise:.2f}"
        reason = "below noise" if miss.below_noise else "MISSED"
        yield f"{reason}: {miss.fault} in {miss.cell}: {miss.ratio or 0:.2f} of its bound, signal to noise {to_noise}"


ENOUGH = 0.98  # of the faults of a type


def zoo_lines(power: Power) -> Iterator[str]:
    """Of many architectures: how many faults are caught in how many of them, and what is missed in the others."""
    for dtype in Dtype:
        by_type: dict[str, list[Trial]] = {}
        for trial in power.trials:
            if trial.fault and trial.dtype is dtype:
                by_type.setdefault(trial.architecture, []).append(trial)
        if not by_type:
            continue
        seeded = [trial for trials in by_type.values() for trial in trials]
        honest = [trial for trial in power.trials if not trial.fault and trial.dtype is dtype]
        missed = {name: [one for one in trials if not one.caught.suite] for name, trials in by_type.items()}
        enough = [name for name, trials in by_type.items() if len(missed[name]) <= (1 - ENOUGH) * len(trials)]
        alarms = sum(trial.caught.suite for trial in honest)
        caught = len(seeded) - sum(map(len, missed.values()))
        yield f"{dtype}: {caught} of {len(seeded)} faults caught, {alarms} of {len(honest)} honest runs accused"
        yield f"  at least {ENOUGH:.0%} of its faults in {len(enough)} of {len(by_type)} architectures; in others not:"
        for name in sorted(by_type.keys() - set(enough)):
            said = ", ".join(f"{one.fault} ({one.signal_to_noise or 0:.2g} of noise)" for one in missed[name])
            yield f"  {name}: {said}"


def sabotage_by_name(trials: Iterable[SabotageTrial]) -> dict[str, list[SabotageTrial]]:
    """The trials of each way, in order."""
    found: dict[str, list[SabotageTrial]] = {}
    for trial in trials:
        found.setdefault(trial.name, []).append(trial)
    return found


def ending(trial: SabotageTrial) -> str:
    """How a cell of a spoiled suite ended: in its verdict, or mended."""
    if trial.verdict is not Verdict.SUPPORTED:
        return trial.verdict.value
    return "named and mended" if trial.caught else "LEFT GREEN"


def _share(tally: Tally | None, rule: str) -> str:
    if tally is None or not tally.asked[rule]:
        return ""
    return f"{tally.caught[rule]}/{tally.asked[rule]}"


def power_dtypes(power: PowerSummary | None) -> list[Dtype]:
    """The dtypes in which anything was seeded."""
    if power is None:
        return []
    return [dtype for dtype in Dtype if dtype in {*power.total, *power.honest, *power.limits}]


def limited_architectures(power: PowerSummary | None) -> list[str]:
    """The architectures whose detection limit was looked for."""
    return list(dict.fromkeys(name for limits in (power.limits if power else {}).values() for name in limits))


def limit_text(limit: float | None) -> str:
    """A detection limit in per cent of the softmax scale."""
    return "none found" if limit is None else f"{limit:g} %"


def gravest_misses_first(misses: Iterable[Trial]) -> list[Trial]:
    """What should have been caught, then what no comparison of logits in that dtype could tell."""
    return sorted(misses, key=lambda miss: miss.below_noise)


def share_text(tally: Tally | None, rule: str = "suite") -> str:
    """How many of how many, or nothing where the rule was not asked."""
    asked = tally.asked.get(rule, 0) if tally else 0
    if tally is None or not asked:
        return ""
    return f"{tally.caught.get(rule, 0):,} of {asked:,}"


def other_versions(there: Stack, here: Stack) -> list[str]:
    """In which libraries two stacks differ."""
    names = dict.fromkeys([*there.versions, *here.versions])
    pairs = [(name, there.versions.get(name), here.versions.get(name)) for name in names]
    return [f"{name} {one or 'absent'}, here {other or 'absent'}" for name, one, other in pairs if one != other]
