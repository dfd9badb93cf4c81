"""Where the seconds of a run went: by what they were spent on, and by worker."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from matrix.observation import Phase
from reports.document import ProcessMemory, Report

# What is spent, in the order in which a process comes to it.
BEFORE, START, COLLECT, IMPORT, DEVICE = "before", "start", "collect", "import", "device"
FIXTURE, LOAD, RUN, COMPILE, REFERENCE, ROWS, BESIDE, WAIT, IDLE = (
    "fixture",
    "load",
    "run",
    "compile",
    "reference",
    "rows",
    "beside",
    "wait",
    "idle",
)
MEANINGS = {
    BEFORE: "from the command to the worker's process: the controller plans, the libraries are imported once",
    START: "the worker's interpreter and pytest, until it reads the command line",
    COLLECT: "the plan and its tests",
    IMPORT: "torch and transformers, where they are not there yet",
    DEVICE: "the CUDA context",
    FIXTURE: "fixtures and batches",
    LOAD: "from_pretrained, placement, transformation, save_pretrained",
    RUN: "forward passes and generations",
    COMPILE: "torch.compile",
    REFERENCE: "golden, baseline, and the comparison with them",
    ROWS: "reported failures, properties of kernels, the guide",
    BESIDE: "the rest of a cell: judged, measured again alone, explained, timed beside its twin",
    WAIT: "between two cells",
    IDLE: "after a worker's last cell, until the last worker's",
}
_OF_PHASES = {
    Phase.BUILD: FIXTURE,
    Phase.LOAD: LOAD,
    Phase.PLACE: LOAD,
    Phase.TRANSFORM: LOAD,
    Phase.SAVE: LOAD,
    Phase.FORWARD: RUN,
    Phase.GENERATE: RUN,
    Phase.REFERENCE: REFERENCE,
    "compile": COMPILE,
}
_AT_FIRST = (IMPORT, DEVICE)  # within a process's first cell
_SHORTEST, _LONGEST = 1e-3, 1e7  # seconds; what claims to have run for less or longer is no measurement
_MOST = 1000  # processes that are shown


@dataclass(frozen=True)
class Stretch:
    """What a worker did for a while."""

    on: str
    began: float
    seconds: float


@dataclass
class Worker:
    """One process, from the command, or the death of the one before it, to the end of the last cell of all."""

    name: str
    stretches: list[Stretch] = field(default_factory=list)
    cells: int = 0
    memory: ProcessMemory | None = None

    def add(self, on: str, began: float, seconds: float) -> None:
        """A stretch, if it is one."""
        if seconds > 0:
            self.stretches.append(Stretch(on, began, seconds))

    def seconds(self, on: str) -> float:
        """What it spent on that."""
        return sum(one.seconds for one in self.stretches if one.on == on)


@dataclass(frozen=True)
class Spent:
    """A whole run."""

    workers: tuple[Worker, ...]
    wall: float  # from the command to the end of the last cell, seconds
    first: float  # from the command to the end of the first cell
    quick: float  # the shortest time in which four of five cells ended
    cells: int  # cells and rows

    @property
    def by_use(self) -> dict[str, float]:
        """Worker-seconds by what they were spent on, without what nothing was spent on."""
        total = dict.fromkeys(MEANINGS, 0.0)
        for worker in self.workers:
            for one in worker.stretches:
                total[one.on] += one.seconds
        return {on: seconds for on, seconds in total.items() if seconds > 0}


@dataclass(frozen=True)
class _Item:
    worker: str
    began: float
    took: float
    uses: tuple[tuple[str, float], ...]


def spent_by(report: Report) -> Spent | None:
    """Where the time of a run went; None of a report that does not say, such as one before schema 2.0."""
    processes = [one for one in report.processes if 0 <= one.began < _LONGEST][:_MOST]
    items = sorted(_items(report), key=lambda item: item.began)
    if not processes or not items:
        return None
    wall = max(item.began + item.took for item in items)
    if wall < _SHORTEST:
        return None
    of_worker: dict[str, list[_Item]] = {}
    for item in items:
        of_worker.setdefault(item.worker, []).append(item)
    workers = []
    launched = report.run.launched or report.run.started
    begun = [0.0, *((again - launched).total_seconds() for again in report.run.resumed)]
    deaths = sorted(one.died for one in processes if one.died is not None and 0 <= one.died < _LONGEST)
    for process in processes:
        # From the command on, or from the death of the one whose place it takes.
        since = max((moment for moment in begun if moment <= process.began), default=0.0)
        if deaths and since <= deaths[0] <= process.began:
            since = deaths.pop(0)
        until = min((moment for moment in begun if moment > process.began), default=wall)
        own = of_worker.get(process.worker, [])
        worker = Worker(process.worker or "this process", cells=len(own), memory=process.memory)
        at = process.began
        worker.add(BEFORE, since, at - since)
        for on in (START, COLLECT):
            seconds = _sane(process.seconds.get(on, 0.0))
            worker.add(on, at, seconds)
            at += seconds
        first = [(on, _sane(process.seconds.get(on, 0.0))) for on in _AT_FIRST]
        for item in own:
            worker.add(WAIT, at, item.began - at)
            at, end = item.began, item.began + item.took
            for on, seconds in (*first, *item.uses):
                worker.add(on, at, min(seconds, end - at))
                at = min(at + seconds, end)
            first = []
            worker.add(BESIDE, at, end - at)
            at = end
        worker.add(IDLE, at, (until if process.died is None else min(until, process.died)) - at)
        workers.append(worker)
    ended = sorted(item.began + item.took for item in items)
    most = max(1, round(0.8 * len(ended)))
    quick = min(ended[start + most - 1] - ended[start] for start in range(len(ended) - most + 1))
    return Spent(tuple(workers), wall, ended[0], quick, len(items))


def _items(report: Report) -> Iterator[_Item]:
    for record in report.records:
        if record.began is not None and 0 <= record.began < _LONGEST:
            uses = [
                (_OF_PHASES.get(phase, BESIDE), _sane(spent)) for phase, spent in record.observation.seconds.items()
            ]
            yield _Item(record.worker, record.began, _sane(record.took), tuple(uses))
    for row in report.rows:
        if row.began is not None and 0 <= row.began < _LONGEST:
            yield _Item(row.worker, row.began, _sane(row.seconds), ((ROWS, _sane(row.seconds)),))


def _sane(seconds: float) -> float:
    return seconds if 0 <= seconds < _LONGEST else 0.0


def spent_lines(spent: Spent) -> Iterator[str]:
    """As a table: by use, largest first, then by worker."""
    whole = sum(spent.by_use.values())
    yield (
        f"{spent.cells:,} cells and rows in {spent.wall:.1f} s by {len(spent.workers)} "
        f"{'process' if len(spent.workers) == 1 else 'processes'}; the first after {spent.first:.1f} s, "
        f"four of five within {spent.quick:.1f} s"
    )
    yield ""
    for on, seconds in sorted(spent.by_use.items(), key=lambda use: -use[1]):
        yield f"{on:10} {seconds:9.1f} s {seconds / whole:6.1%}  {MEANINGS[on]}"
    yield ""
    width = max(len(worker.name) for worker in spent.workers)
    for worker in spent.workers:
        ready = sum(worker.seconds(on) for on in (BEFORE, START, COLLECT, IMPORT, DEVICE))
        idle = worker.seconds(WAIT) + worker.seconds(IDLE)
        busy = sum(one.seconds for one in worker.stretches) - ready - idle
        yield (
            f"{worker.name:{width}} {worker.cells:6,} cells  ready after {ready:5.1f} s  "
            f"busy {busy / spent.wall:4.0%}  idle at the end {worker.seconds(IDLE):5.1f} s"
            + "".join(f"  {part}" for part in memory_parts(worker.memory))
        )


def memory_parts(memory: ProcessMemory | None) -> Iterator[str]:
    """What a process had of the memory, as far as it is known."""
    if memory is None:
        return
    yield f"host {_gib(memory.host)} at most"
    if memory.gpu is not None:
        beside = "" if memory.beside is None else f" and {_gib(memory.beside)} beside torch"
        yield f"GPU {_gib(memory.gpu)}{beside} at the end"
    if memory.grown is not None and memory.cells:
        yield f"{memory.grown:+,.0f} MiB in {memory.cells:,} cells"


def _gib(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB"


@dataclass(frozen=True)
class Bar:
    """A part of a worker's line in the picture: from where, how wide, in parts of a thousand."""

    on: str
    left: int
    width: int


def bars(worker: Worker, wall: float) -> list[Bar]:
    """A worker's time in equal parts, each as what took most of it; neighbours of one use are one bar.

    There is none for the time before it began or after it died.
    """
    return [bar for bar in _joined(_largest_uses(worker, wall)) if bar.on]


_PARTS = 200


def _largest_uses(worker: Worker, wall: float) -> list[str]:
    shares: list[dict[str, float]] = [{} for _ in range(_PARTS)]
    for one in worker.stretches:
        begin, end = one.began / wall * _PARTS, (one.began + one.seconds) / wall * _PARTS
        for part in range(max(0, int(begin)), min(_PARTS, int(end) + 1)):
            within = max(0.0, min(end, part + 1) - max(begin, part))
            shares[part][one.on] = shares[part].get(one.on, 0.0) + within
    return [max(share, key=share.__getitem__, default="") for share in shares]


def _joined(uses: Iterable[str]) -> Iterator[Bar]:
    bar: Bar | None = None
    for place, on in enumerate(uses):
        if bar is not None and bar.on == on:
            bar = Bar(on, bar.left, bar.width + 1000 // _PARTS)
            continue
        if bar is not None:
            yield bar
        bar = Bar(on, place * 1000 // _PARTS, 1000 // _PARTS)
    if bar is not None:
        yield bar
