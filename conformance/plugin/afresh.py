"""A cell alone, in a process that has run no other: what failed is measured again there before it is believed."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from conformance import interruption
from conformance.plugin.deaths import KILLED, KernelKills
from conformance.plugin.forkserver import ROOT, launcher
from matrix.cell import Cell, parse_cell
from matrix.observation import Ending, Failure, Observation, Phase

# Until a process that was started says its first word, however busy the machine is.
START_SECONDS = 120.0
_CODE = "from conformance.plugin.afresh import answer; answer()"


def observed_afresh(arguments: dict[str, Any], cell: Cell, seconds: float, after: Sequence[Cell] = ()) -> Observation:
    """What a bench made from these arguments observes; it is ended if there is no answer after `seconds` and the grace.

    The cells of `after` are measured before it in the same process, within `seconds` of their own.
    The process is forked from one that has imported the libraries and done nothing else, where there can be one.
    """
    command = [*launcher(), "-c", _CODE]
    # What the libraries print goes where it would go from here; stdin and stdout carry the question and its answer.
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    except OSError as error:
        return Observation(Ending.CRASHED, Failure(Phase.LOAD, "ProcessEnded", f"no process to be alone in: {error}"))
    asking = Connection(os.dup(process.stdin.fileno()), readable=False)  # type: ignore[union-attr]
    hearing = Connection(os.dup(process.stdout.fileno()), writable=False)  # type: ignore[union-attr]
    phase, limit, kills = Phase.LOAD, START_SECONDS, KernelKills()
    began: float | None = None
    try:
        asking.send((arguments, [other.id for other in after], cell.id, seconds))
        while hearing.poll(limit):
            heard = hearing.recv()
            if isinstance(heard, Observation):
                return heard
            phase, limit = Phase(heard), seconds + interruption.GRACE_SECONDS
            began = time.monotonic() if began is None else began
        return Observation(Ending.TIMEOUT, Failure(phase, "CellTimeout", f"no answer after {limit:g} s, alone"))
    except (EOFError, BrokenPipeError):
        if kills.another():
            said = f"the process died, alone, {KILLED}"
            return Observation(Ending.OUT_OF_MEMORY, Failure(phase, "ProcessEnded", said))
        if not after and began is not None and time.monotonic() - began >= seconds + interruption.GRACE_SECONDS:
            return Observation(Ending.TIMEOUT, Failure(phase, "CellTimeout", "it did not answer and was ended, alone"))
        return Observation(Ending.CRASHED, Failure(phase, "ProcessEnded", "the process died, alone"))
    finally:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=interruption.GRACE_SECONDS)
        asking.close()
        hearing.close()


def answer() -> None:
    """The other side: measure the cell that stdin names, after others; say on stdout its phase, then what was seen."""
    asked, telling = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)
    arguments, others, cell_id, seconds = asked.recv()

    from conformance.bench import Bench
    from conformance.faults import find

    def on_phase(cell: Cell, phase: Phase) -> None:
        telling.send(phase.value)

    fault = find(arguments["fault"]) if arguments["fault"] else None
    bench = Bench(**{**arguments, "fault": fault}, on_phase=on_phase)
    telling.send(Phase.LOAD.value)
    ends = time.monotonic() + seconds
    for other in others:
        if (left := ends - time.monotonic()) <= 0:
            failure = Failure(Phase.LOAD, "CellTimeout", f"the cells before it took longer than {seconds:g} s")
            telling.send(Observation(Ending.TIMEOUT, failure))
            return
        with interruption.time_limit(left):
            bench.run(parse_cell(other))
    with interruption.time_limit(seconds):
        telling.send(bench.run(parse_cell(cell_id)))
    sys.stdout.flush()
