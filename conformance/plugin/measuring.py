"""Where a cell is measured: in the process that runs the tests."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.interruption import LAST_WORDS, DeviceLost, time_limit
from conformance.plugin.afresh import observed_afresh
from conformance.plugin.clock import Clock
from conformance.plugin.settings import Settings
from matrix import memory
from matrix.architectures import Architecture
from matrix.cell import Cell
from matrix.errors import harmless
from matrix.expectation import expect
from matrix.observation import Ending, Failure, Observation, Origin, Phase
from matrix.stack import Device
from matrix.verdict import Judgement, Verdict, begins, judge
from matrix.waiver import Waiver, waiver_for
from reports.document import Record, make_record
from reports.text import reproducing_command

if TYPE_CHECKING:
    from conformance.bench import Bench

# Verdicts that an earlier cell can bring about by what it leaves behind.
_DOUBTED = (
    Verdict.INACCURATE,
    Verdict.ERROR,
    Verdict.SUBSTITUTED,
    Verdict.UNEXPECTED,
    Verdict.NOT_BUILT,
)


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
        self._making = threading.Lock()
        self._record: Record | None = None
        self._deadline = 0.0
        self._known = ""  # the record of the cell, while it runs once more only to be explained
        self.device_lost = False
        self.left_changed = False  # by a cell, in a way that nobody has put back

    def __call__(self, cell: Cell) -> Record:
        """Measure one cell. A verdict that would fail is believed if it comes again, alone and in a fresh process.

        Where it does not, another cell has left this process changed; two fresh runs that disagree are `flaky`.
        """
        observation, judgement = self._measure(cell)
        first: Verdict | None = None
        known = self._settings.architectures[cell.architecture].unbuilt
        if judgement.verdict in _DOUBTED and not known and self._waiver(cell, observation, judgement) is None:
            doubted = judgement
            observation, judgement = self._measure(cell, afresh=True)
            if judgement.verdict is not doubted.verdict:
                first = doubted.verdict
                _, again = self._measure(cell, afresh=True)
                judgement = _of_three(doubted, judgement, again)
                self.left_changed = judgement.verdict is not Verdict.FLAKY
        self.device_lost = observation.ending is Ending.DEVICE_LOST
        if judgement.verdict is Verdict.INACCURATE and observation.ending is Ending.COMPLETED and not self.left_changed:
            # Should that take the process down, what is already known is not lost.
            self._known = self._made(cell, observation, judgement, first).model_dump_json()
            origin = self._origin(cell)
            observation = replace(observation, origin=origin)
            judgement = replace(judgement, reason="; ".join([judgement.reason, *begins(origin)]))
        self._record = self._made(cell, observation, judgement, first)
        return self._record

    def _origin(self, cell: Cell) -> Origin | None:
        self._deadline = time.time() + self._settings.cell_timeout
        self._leave_breadcrumb(cell, Phase.LOAD)
        try:
            with time_limit(self._settings.cell_timeout):
                return self._warm_bench().origin(cell)
        except DeviceLost:  # which the next cell must not answer for
            self.device_lost = True
            return None
        finally:
            self._known = ""

    def _made(self, cell: Cell, observation: Observation, judgement: Judgement, first: Verdict | None) -> Record:
        record = make_record(
            cell,
            judgement=judgement,
            expectation=expect(cell, self._settings.stack, self._settings.rules),
            observation=observation,
            waiver=self._waiver(cell, observation, judgement),
            first_verdict=first,
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

    def _measure(self, cell: Cell, *, afresh: bool = False) -> tuple[Observation, Judgement]:
        settings = self._settings
        expectation = expect(cell, settings.stack, settings.rules)
        architecture = settings.architectures[cell.architecture]
        absent = tuple(name for name in ("torch", "transformers") if settings.stack.lacks(name))
        if not absent and cell.architecture in settings.parameters and expectation.runs:
            room = memory.lacking(
                settings.parameters[cell.architecture], cell.dtype, settings.stack, memory.free_bytes()
            )
            absent = (room,) if room else ()
        if absent:
            observation = Observation(Ending.NOT_RUN, missing=absent)
        elif architecture.unbuilt:
            observation = _unbuilt(architecture)
        elif expectation.runs:
            self._deadline = time.time() + settings.cell_timeout
            self._leave_breadcrumb(cell, Phase.LOAD)
            if afresh:
                observation = self._alone(cell)
            else:
                with time_limit(settings.cell_timeout):
                    observation = self._on_bench(cell)
        else:
            observation = Observation(Ending.NOT_RUN, missing=expectation.missing)
        judgement = judge(cell, architecture, observation, expectation, settings.stack.device)
        if judgement.verdict is Verdict.UNAVAILABLE and not absent:
            observation = replace(observation, missing=expectation.missing)
        return observation, judgement

    def _on_bench(self, cell: Cell) -> Observation:
        return self._warm_bench().run(cell)

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

    def _alone(self, cell: Cell) -> Observation:
        arguments = self._arguments({cell.architecture: self._settings.architectures[cell.architecture]})
        return observed_afresh(arguments, cell, self._settings.cell_timeout)

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
        }

    def begin_row(self, key: str) -> None:
        """Say that this process measures a row."""
        self._say_where({"row": key})
        if self._breadcrumb is not None:
            LAST_WORDS.path = last_words(self._breadcrumb)
            LAST_WORDS.say("")

    def _leave_breadcrumb(self, cell: Cell, phase: Phase) -> None:
        place = {"cell": cell.id, "phase": phase.value, "deadline": self._deadline}
        self._say_where(place | ({"record": self._known} if self._known else {}))

    def _say_where(self, place: dict[str, Any]) -> None:
        """For whoever finds this process dead."""
        if self._breadcrumb is not None:
            with contextlib.suppress(OSError):  # a full disk is no fault of the cell that is measured meanwhile
                self._breadcrumb.write_text(json.dumps(place), encoding="utf-8")


def _unbuilt(architecture: Architecture) -> Observation:
    """Of an architecture of which no model can be made: what is missing, or what went wrong in which phase."""
    if architecture.missing:
        return Observation(Ending.NOT_RUN, missing=architecture.missing)
    phase, _, said = architecture.unbuilt.partition(": ")
    kind, _, message = said.partition(": ")
    return Observation(Ending.RAISED, failure=Failure(Phase.BUILD, kind, f"{message} (while its {phase} was made)"))


def _of_three(doubted: Judgement, alone: Judgement, again: Judgement) -> Judgement:
    """What to believe of a cell that was one thing among others, and another alone."""
    if again.verdict is not alone.verdict:
        verdicts = [f"{judgement.verdict} ({judgement.reason})" for judgement in (doubted, alone, again)]
        return Judgement(Verdict.FLAKY, f"first {verdicts[0]}, then alone {verdicts[1]} and {verdicts[2]}")
    where = f"in a process that other cells had left changed it was {doubted.verdict} ({doubted.reason})"
    return Judgement(alone.verdict, f"{alone.reason}; {where}")


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
