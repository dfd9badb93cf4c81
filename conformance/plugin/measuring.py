"""Where a cell is measured: in the process that runs the tests."""

import contextlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from conformance.interruption import LAST_WORDS, CellTimeout, DeviceLost, time_limit
from conformance.plugin.afresh import observed_afresh
from conformance.plugin.breadcrumbs import leave_breadcrumb
from conformance.plugin.clock import Clock
from conformance.plugin.deaths import first_death
from conformance.plugin.settings import Settings
from conformance.plugin.turnstile import SharedMemory
from conformance.plugin.usage import peak_host_mib
from matrix import memory
from matrix.architectures import Architecture
from matrix.cell import Cell
from matrix.doubt import DOUBTED, MOST_OTHERS, after_death, after_want, believed, recent, smallest_suffix
from matrix.errors import harmless
from matrix.expectation import expect
from matrix.observation import Ending, Failure, Observation, Phase
from matrix.shortage import in_use_by_others, is_of_the_host
from matrix.stack import Device
from matrix.twin import twin_of
from matrix.verdict import Judgement, Verdict, begins, judge
from matrix.waiver import Waiver, waiver_for
from reports.document import Record, make_record
from reports.text import reproducing_command

if TYPE_CHECKING:
    from conformance.bench import Bench
    from conformance.gpu_memory import GpuWatch

T = TypeVar("T")


@dataclass(frozen=True)
class _Seen:
    """One run of a cell, and what is to be said of it."""

    observation: Observation
    judgement: Judgement
    without_room: bool = False  # it was not tried, for want of memory

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict


class NotAsDocumented(Exception):
    """A cell's verdict fails the run. The message holds the values and the reproducing command."""


class Measure:
    """Runs a cell, judges it, and keeps the record until it is taken."""

    def __init__(self, settings: Settings, clock: Clock, *, worker: str = "", breadcrumb: Path | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._worker = worker
        self._breadcrumb = breadcrumb
        self._bench: Bench | None = None
        self._watch: GpuWatch | None = None
        self._making = threading.Lock()
        self._record: Record | None = None
        self._deadline = 0.0
        self._known = ""  # the record of the cell, while it runs once more, to be explained or timed
        # What was measured here: the last cells, the one that is measured now among them, with how many seconds each
        # took, and how much there was in all, rows included.
        self._measured: deque[tuple[Cell, float]] = deque(maxlen=MOST_OTHERS + 1)
        self._count = 0
        self._shared = SharedMemory()
        if breadcrumb is not None:
            self._shared = SharedMemory.of_worker(breadcrumb.parent, len(settings.stack.gpus))
        self.device_lost = False
        self.left_changed = False  # by a cell, in a way that nobody has put back

    def __call__(self, cell: Cell) -> Record:
        """Measure one cell. A verdict that would fail is believed if it comes again, alone and in a fresh process.

        Where it does not, the cell is `flaky`, unless it is others, measured before, that bring the verdict about
        (matrix/doubt.py). What runs out of memory runs again with the memory to itself, and what took a worker down is
        measured alone.
        """
        died = None if self._breadcrumb is None else first_death(cell.id, self._breadcrumb.parent)
        if died is not None:
            first = _Seen(died.observation, Judgement(died.verdict, died.reason))
        else:  # where there are no workers, this process goes on without its device
            first = self._afresh(cell) if self.device_lost else self._here(cell)
        seen = self._settled(cell, first, died=died is not None)
        changed = (first.verdict, first.observation) if seen.verdict is not first.verdict else None
        observation, judgement = seen.observation, seen.judgement
        completed = observation.ending is Ending.COMPLETED and not (self.left_changed or self.device_lost)
        record = self._made(cell, observation, judgement, changed)
        if completed and judgement.verdict is Verdict.INACCURATE:
            origin = self._aside(cell, record, lambda bench: bench.origin(cell))
            observation = replace(observation, origin=origin)
            judgement = replace(judgement, reason="; ".join([judgement.reason, *begins(origin)]))
            record = self._made(cell, observation, judgement, changed)
        elif completed and judgement.verdict is Verdict.SUPPORTED and self._settings.costs and twin_of(cell):
            record.observation = replace(
                record.observation, price=self._aside(cell, record, lambda bench: bench.price(cell))
            )
        self._record = record
        return record

    def _settled(self, cell: Cell, first: _Seen, *, died: bool) -> _Seen:
        """What is to be believed of a cell, once it has run as often as it takes."""
        waived = self._waiver(cell, first.observation, first.judgement) is not None
        if waived or self._settings.architectures[cell.architecture].unbuilt:
            return first
        if first.without_room and self._shared.others(on_host=True):
            return self._to_itself(cell, on_host=True, again=False)
        if first.verdict is Verdict.OUT_OF_MEMORY:
            failure = first.observation.failure
            on_host = failure is not None and is_of_the_host(failure)
            alone = self._to_itself(cell, on_host=on_host)
            neighbours = () if on_host else tuple(in_use_by_others(self._settings.stack.gpus))
            others = self._shared.others(on_host=on_host)
            return replace(alone, judgement=after_want(first.judgement, alone.judgement, others, neighbours))
        if first.verdict not in DOUBTED:
            return first
        alone = self._afresh(cell)
        if died:
            return replace(alone, judgement=after_death(first.judgement, alone.judgement))
        return alone if alone.verdict is first.verdict else self._of_several(cell, first, alone)

    def _of_several(self, cell: Cell, first: _Seen, alone: _Seen) -> _Seen:
        """What to believe where a cell was one thing here, and another alone."""
        again = self._afresh(cell)
        others: Sequence[Cell] = ()
        came_again = False
        if again.verdict is alone.verdict:
            others, came_again = self._in_their_wake(cell, first.verdict, alone.verdict)
            if not came_again and len(others) + 1 < self._count and not self.device_lost:
                # Not all that was measured here could be repeated, such as rows: then what they left is here alone.
                others, came_again = (), self._here(cell).verdict is first.verdict
        names = [other.id for other in others]
        judgement = believed(first.judgement, alone.judgement, again.judgement, names, came_again=came_again)
        if came_again:
            self.left_changed = True
        return replace(alone, judgement=judgement)

    def _in_their_wake(self, cell: Cell, wanted: Verdict, alone: Verdict) -> tuple[Sequence[Cell], bool]:
        """Cells that were measured here before, and whether in the wake of these the verdict comes again.

        None are named where it came to a third one, such as no answer in time: nobody knows then.
        """

        def comes_again(others: Sequence[Cell]) -> bool:
            return self._afresh(cell, after=others).verdict is wanted

        others: Sequence[Cell] = recent(list(self._measured)[:-1], self._settings.cell_timeout)
        if not others:
            return (), False
        verdict = self._afresh(cell, after=others).verdict
        if verdict is not wanted:
            return others if verdict is alone else (), False
        until = time.monotonic() + self._settings.cell_timeout
        return smallest_suffix(others, comes_again, lambda: time.monotonic() < until), True

    def _here(self, cell: Cell) -> _Seen:
        """The cell in this process, after others."""

        def run() -> Observation:
            began = time.monotonic()
            try:
                with time_limit(self._settings.cell_timeout):
                    observation = self._on_bench(cell)
            except CellTimeout as error:  # before the bench could answer to it
                observation = Observation(Ending.TIMEOUT, Failure(Phase.LOAD, "CellTimeout", str(error)))
            self._measured.append((cell, time.monotonic() - began))
            self._count += 1
            self.device_lost |= observation.ending is Ending.DEVICE_LOST
            return observation

        self._wait(cell)
        with self._shared.beside(self._give_back):
            return self._measure(cell, run)

    def _wait(self, cell: Cell) -> None:
        """Say that it waits for memory: nobody is late who does, for as long as that takes others."""
        self._deadline = math.inf
        self._leave_breadcrumb(cell, Phase.LOAD)

    def _afresh(self, cell: Cell, after: Sequence[Cell] = ()) -> _Seen:
        """The cell in a fresh process, alone but for those that are measured there before it."""
        self._wait(cell)
        with self._shared.beside(self._give_back):
            seen = self._measure(cell, lambda: self._alone(cell, after), again=True)
        failure = seen.observation.failure
        if seen.verdict is not Verdict.OUT_OF_MEMORY or failure is None:
            return seen
        return self._to_itself(cell, on_host=is_of_the_host(failure), after=after)

    def _to_itself(self, cell: Cell, *, on_host: bool, after: Sequence[Cell] = (), again: bool = True) -> _Seen:
        """The same with the memory to itself."""
        self._wait(cell)
        with self._shared.alone(on_host=on_host, give_back=self._give_back):
            return self._measure(cell, lambda: self._alone(cell, after), again=again)

    def _give_back(self) -> None:
        """What this process keeps of the memory only to be faster."""
        if self._bench is not None:
            with contextlib.suppress(Exception):  # a lost device takes nothing back
                self._bench.give_back()

    def _aside(self, cell: Cell, known: Record, ask: "Callable[[Bench], T | None]") -> T | None:
        """What the bench says to a question about a cell that has been judged, for which it runs once more."""
        self._known = known.model_dump_json()  # should that take the process down, it is not lost
        try:
            self._wait(cell)
            with self._shared.beside(self._give_back):
                self._deadline = time.time() + self._settings.cell_timeout
                self._leave_breadcrumb(cell, Phase.LOAD)
                with time_limit(self._settings.cell_timeout):
                    return ask(self._warm_bench())
        except DeviceLost:  # which the next cell must not answer for
            self.device_lost = True
            return None
        finally:
            self._known = ""

    def _made(
        self, cell: Cell, observation: Observation, judgement: Judgement, first: tuple[Verdict, Observation] | None
    ) -> Record:
        record = make_record(
            cell,
            judgement=judgement,
            expectation=expect(cell, self._settings.stack, self._settings.rules),
            observation=observation,
            waiver=self._waiver(cell, observation, judgement),
            first=first,
            worker=self._worker,
            seed=self._settings.seed,
        )
        record.demanded = [name for name in observation.missing if name in self._settings.required]
        return record

    def _waiver(self, cell: Cell, observation: Observation, judgement: Judgement) -> Waiver | None:
        waivers = self._settings.waivers
        if observation.evidence.missing_parameters:  # no fault of a library, but where it is said that it is
            own = cell.architecture in self._settings.checkpoints
            waivers = tuple(waiver for waiver in waivers if waiver.message and not own)
        return waiver_for(cell, judgement, self._settings.stack, waivers)

    @property
    def checkpoints(self) -> Mapping[str, str]:
        """The user's, by architecture."""
        return self._settings.checkpoints

    def take_record(self) -> str | None:
        """The last record as JSON, once."""
        record, self._record = self._record, None
        return None if record is None else record.model_dump_json()

    def _measure(self, cell: Cell, run: Callable[[], Observation], *, again: bool = False) -> _Seen:
        """What is to be said of the cell, which is run unless it cannot be.

        Whether there is memory for it is not asked `again`: this process holds some of it by then.
        """
        settings = self._settings
        expectation = expect(cell, settings.stack, settings.rules)
        architecture = settings.architectures[cell.architecture]
        room = ""
        if cell.architecture in settings.parameters and expectation.runs and not again:
            room = memory.lacking(
                settings.parameters[cell.architecture], cell.dtype, settings.stack, memory.free_bytes()
            )
        if room:
            observation = Observation(Ending.NOT_RUN, missing=(room,))
        elif architecture.unbuilt:
            observation = _unbuilt(architecture)
        elif expectation.runs:
            self._deadline = time.time() + settings.cell_timeout
            self._leave_breadcrumb(cell, Phase.LOAD)
            observation = run()
        else:
            observation = Observation(Ending.NOT_RUN, missing=expectation.missing)
        judgement = judge(cell, architecture, observation, expectation, settings.stack.device)
        if judgement.verdict is Verdict.UNAVAILABLE and not room:
            observation = replace(observation, missing=expectation.missing)
        return _Seen(observation, judgement, without_room=bool(room))

    def _on_bench(self, cell: Cell) -> Observation:
        bench = self._warm_bench()
        if cell.device_map.processes > 1:  # what those hold is none of this one's
            return bench.run(cell)
        if self._watch is None:
            from conformance.gpu_memory import GpuWatch, reader

            gpus = self._settings.stack.gpus
            lonely = not self._shared.others(on_host=False) and not any(in_use_by_others(gpus))
            self._watch = GpuWatch(reader(bench.device, alone=lonely))
        return self._watch.observed(cell, lambda: bench.run(cell))

    def memory(self) -> dict[str, float]:
        """What this process has had of the memory, in MiB (`ProcessMemory`)."""
        lost = self._watch is None or self.device_lost
        return {"host": peak_host_mib(), **({} if lost else self._watch.held())}

    def ask_for_gpu(self) -> None:
        """Ask for the GPU while tests are collected, in a process that has imported all that it takes."""

        def ask() -> None:
            with contextlib.suppress(Exception):  # it will come again, with a cell to tell of it
                self._make_bench()

        if self._settings.stack.device is Device.CUDA and "conformance.bench" in sys.modules:
            threading.Thread(target=ask, daemon=True).start()

    def _warm_bench(self) -> "Bench":
        if self._bench is None:
            with self._clock.spending("import"):
                import conformance.bench  # torch comes in here, with the first cell that runs
                import conformance.faults  # noqa: F401
            with self._clock.spending("device"):
                self._make_bench()
        assert self._bench is not None
        return self._bench

    def _make_bench(self) -> None:
        from conformance.bench import Bench
        from conformance.faults import find

        with self._making:
            if self._bench is None:
                fault = find(self._settings.fault) if self._settings.fault else None
                arguments = {**self._arguments(self._settings.architectures), "fault": fault}
                self._bench = Bench(**arguments, on_phase=self._leave_breadcrumb)

    def _alone(self, cell: Cell, after: Sequence[Cell] = ()) -> Observation:
        known = self._settings.architectures
        arguments = self._arguments({other.architecture: known[other.architecture] for other in (*after, cell)})
        return observed_afresh(arguments, cell, self._settings.cell_timeout, after)

    def _arguments(self, architectures: Mapping[str, Architecture]) -> dict[str, Any]:
        settings = self._settings
        return {
            "device": settings.stack.device,
            "architectures": architectures,
            "fixture_cache": settings.fixture_cache,
            "checkpoints": settings.checkpoints,
            "trust_remote_code": settings.trust_remote_code,
            "fault": settings.fault,
            "seed": settings.seed,
            "dials": settings.dials,
        }

    @contextlib.contextmanager
    def row(self, key: str) -> Iterator[None]:
        """Measure a row within: say so, and share the memory with others."""
        self._count += 1
        with self._shared.beside(self._give_back):
            self._begin_row(key)
            yield

    def _begin_row(self, key: str) -> None:
        self._say_where({"row": key})
        if self._breadcrumb is not None:
            LAST_WORDS.path = last_words(self._breadcrumb)
            LAST_WORDS.say("")

    def _leave_breadcrumb(self, cell: Cell, phase: Phase) -> None:
        place = {"cell": cell.id, "phase": phase.value, "deadline": self._deadline, "memory": {"host": peak_host_mib()}}
        self._say_where(place | ({"record": self._known} if self._known else {}))

    def _say_where(self, place: dict[str, Any]) -> None:
        """For whoever finds this process dead."""
        if self._breadcrumb is not None:
            leave_breadcrumb(self._breadcrumb, place)


def _unbuilt(architecture: Architecture) -> Observation:
    """Of an architecture of which no model can be made: what is missing, or what went wrong in which phase."""
    if architecture.missing:
        return Observation(Ending.NOT_RUN, missing=architecture.missing)
    phase, _, said = architecture.unbuilt.partition(": ")
    kind, _, message = said.partition(": ")
    return Observation(Ending.RAISED, failure=Failure(Phase.BUILD, kind, f"{message} (while its {phase} was made)"))


def last_words(breadcrumb: Path) -> Path:
    """Where a worker with that breadcrumb says which call it is about to make."""
    return breadcrumb.with_name(f"{breadcrumb.name}.call")


MEASURE = pytest.StashKey[Measure]()


def settle(record: Record, checkpoints: Mapping[str, str]) -> None:
    """Turn a record into pytest's outcome: pass, skip for what is not here, xfail for what is waived, or fail.

    Raises:
        NotAsDocumented: the verdict fails the run.
    """
    if record.fails:
        said = (
            f"{record.verdict}: {record.cell}\n"
            f"  {record.reason}\n"
            f"  expected: {record.expectation.outcome} ({record.expectation.source})\n"
            f"  reproduce: {reproducing_command(record.cell, record.seed, checkpoints)}"
        )
        raise NotAsDocumented(harmless(said))
    if record.waived is not None:
        pytest.xfail(harmless(f"{record.verdict}, waived: {record.waived.reason} {record.waived.url}"))
    if record.verdict is Verdict.UNAVAILABLE:
        pytest.skip(harmless(record.reason))
