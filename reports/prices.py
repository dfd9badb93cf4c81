"""What caches, compilation and quantisation cost and gain: beside the same cells without them, with the noise."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean, median
from typing import ClassVar

from matrix.advice.noise import Gain, gain
from matrix.cell import AXES, SILENT
from matrix.observation import Price
from matrix.twin import PRICED
from matrix.verdict import Verdict
from reports.benchmarks import mib_text, seconds_text
from reports.document import Record
from reports.sizes import sizes

_LARGEST = 1e15  # seconds, MiB, bytes or nats; what claims to be more is no measurement
# The figures of a line as a page calls them.
COLUMNS = {
    "weights": "size in memory",
    "disk": "size on disk",
    "loss": "loss, nats",
    "token": "time of a new token",
    "prompt": "time of the prompt",
    "one_pass": "time of a pass",
    "memory": "memory of the GPU",
    "compiling": "compilation, seconds",
}
_UNITS = {"token": "each new token", "pass": "a forward pass"}


@dataclass(frozen=True)
class Figure:
    """How many times as much something costs as without it: the mean of these cells, as it was turn by turn."""

    times: Gain
    cells: int
    least: float  # of a cell
    most: float

    @property
    def text(self) -> str:
        """Such as “1.31 × (1.28 to 1.34)”, and what the cells differ by."""
        apart = f", cells from {self.least:.3g} to {self.most:.3g}" if self.cells > 1 else ""
        return f"{_times(self.times)}{apart}"

    @property
    def word(self) -> str:
        """Whether that is a difference: only what lies beyond the noise is one."""
        if not self.times.told:
            return ""
        return "more" if self.times.better else "less" if self.times.worse else "within the noise"


@dataclass(frozen=True)
class Spread:
    """Of so many cells the one in the middle, and the largest."""

    middle: float
    most: float
    cells: int
    word: ClassVar[str] = ""  # it is told as it is

    @property
    def text(self) -> str:
        """Such as “0.0021, at most 0.2”."""
        return f"{self.middle:.2g}" if self.cells == 1 else f"{self.middle:.2g}, at most {self.most:.2g}"


@dataclass(frozen=True)
class Line:
    """One value of an axis: what the right cells that have it cost."""

    value: str
    cells: int  # right ones
    token: Figure | None = None  # time
    prompt: Figure | None = None  # time
    one_pass: Figure | None = None  # time
    memory: Figure | None = None  # of the GPU
    weights: Spread | None = None  # share of the unquantised ones
    disk: Spread | None = None  # share of the files of the unquantised ones
    loss: Spread | None = None  # nats a position, against weights, keys and values as they were
    compiling: Spread | None = None  # seconds

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known but that cells are right."""
        return all(getattr(self, name) is None for name in COLUMNS)


def lines(records: Iterable[Record], axis: str) -> list[Line]:
    """What the values of an axis cost, in their order, of cells that are right and in which nothing else is priced.

    A price counts unless the twin is known to be wrong: nobody saves anything over what gives other numbers.
    """
    records = list(records)
    wrong = {record.cell for record in records if record.verdict is not Verdict.SUPPORTED}
    right: dict[str, list[Record]] = {}
    for record in records:
        if record.cell not in wrong and _axis_of(record) == axis:
            right.setdefault(record.axes[axis], []).append(record)
    shares = _shares(record for record in records if record.cell not in wrong) if axis == "quantisation" else {}
    found = (_line(value, right[value], wrong, shares) for value in AXES[axis].values if value in right)
    return [line for line in found if not line.is_empty]


def _axis_of(record: Record) -> str | None:
    return next((axis for axis in PRICED if record.axes[axis] != SILENT[axis]), None)


def _shares(records: Iterable[Record]) -> Mapping[str, list[float]]:
    """By format, the shares of the unquantised weights, of each architecture one."""
    found: dict[str, list[float]] = {}
    for one in sizes(records):
        for size in one.by_quantisation:
            found.setdefault(size.quantisation, []).append(size.share)
    return found


def _line(value: str, right: Sequence[Record], wrong: set[str], shares: Mapping[str, list[float]]) -> Line:
    seen = [record.observation for record in right]
    prices = [one.price for one in seen if one.price is not None and one.price.twin not in wrong]
    # Not what flex attention compiles by itself, and what an earlier run has kept says nothing of how long it takes.
    compiled = [one for one in seen if one.evidence.graphs.get("runs") and not one.evidence.graphs.get("cached")]
    # Of a run without unquantised cells only who was timed says what its weights are a share of.
    weighed = [(one.own.weight_bytes, one.usual.weight_bytes) for one in prices if one.axis == "quantisation"]
    return Line(
        value,
        len(right),
        token=_figure(_turns(one.own.seconds, one.usual.seconds) for one in prices if one.unit == "token"),
        prompt=_figure(_turns(one.own.prompt_seconds, one.usual.prompt_seconds) for one in prices),
        one_pass=_figure(_turns(one.own.seconds, one.usual.seconds) for one in prices if one.unit == "pass"),
        memory=_figure(_turns(_once(one.own.peak_mib), _once(one.usual.peak_mib)) for one in prices),
        weights=_spread(shares.get(value) or [_ratio(*both) for both in weighed]),
        disk=_spread(_ratio(one.own.disk_bytes, one.usual.disk_bytes) for one in prices),
        loss=_spread(one.quantisation_cost.kl_mean for one in seen if one.quantisation_cost is not None),
        compiling=_spread(one.seconds.get("compile") for one in compiled),
    )


def _figure(found: Iterable[Sequence[float]]) -> Figure | None:
    """Of cells' ratios, turn by turn: the noise of their mean is what it differs by from turn to turn.

    Nothing is said of other cells: what these differ by is told beside.
    """
    known = [ratios for ratios in found if ratios]
    if not known:
        return None
    turns = min(map(len, known))
    together = _gain([geometric_mean(ratios[turn] for ratios in known) for turn in range(turns)])
    means = [geometric_mean(ratios[:turns]) for ratios in known]
    return Figure(together, len(known), min(means), max(means))


def _spread(found: Iterable[float | None]) -> Spread | None:
    known = [one for one in found if one is not None and 0 <= one < _LARGEST]
    return Spread(median(known), max(known), len(known)) if known else None


def _once(number: float | None) -> tuple[float, ...]:
    return () if number is None else (number,)


def _turns(own: Sequence[float], usual: Sequence[float]) -> list[float]:
    """How many times as much the first costs, turn by turn."""
    return [mine / its for mine, its in zip(own, usual, strict=False) if _measured(mine) and _measured(its)]


def _gain(ratios: Sequence[float]) -> Gain:
    found = gain(dict.fromkeys(range(len(ratios)), 1.0), dict(enumerate(ratios)))
    assert found is not None, "no turn"
    return found


def _measured(number: float) -> bool:
    return 1 / _LARGEST < number < _LARGEST


def _ratio(own: float | None, usual: float | None) -> float | None:
    return own / usual if own and usual else None


def _times(one: Gain) -> str:
    return f"{one.ratio:.3g} × ({one.low:.3g} to {one.high:.3g})" if one.told else f"{one.ratio:.3g} ×"


def told(price: Price) -> Iterator[str]:
    """What one cell costs beside its twin, in words."""
    own, usual = price.own, price.usual
    timed = [(f"time of {_UNITS.get(price.unit, price.unit)}", own.seconds, usual.seconds)]
    timed += [("time of the prompt", own.prompt_seconds, usual.prompt_seconds)]
    for what, ours, theirs in timed:
        if ratios := _turns(ours, theirs):
            middle, usually = (seconds_text(median(side)) for side in (ours, theirs))
            yield f"{what}: {_times(_gain(ratios))}, {middle} against {usually}"
    sized = {"memory of the GPU, the model and the most beside it": (own.peak_mib, usual.peak_mib)}
    if price.axis == "quantisation":
        sized["weights"] = _mib(own.weight_bytes), _mib(usual.weight_bytes)
        sized["files of the weights"] = _mib(own.disk_bytes), _mib(usual.disk_bytes)
    for what, (mine, its) in sized.items():
        if mine is not None and its is not None and _measured(mine) and _measured(its):
            yield f"{what}: {mine / its:.3g} ×, {mib_text(mine)} against {mib_text(its)}"


def _mib(size: int | None) -> float | None:
    return None if size is None else size / 2**20
