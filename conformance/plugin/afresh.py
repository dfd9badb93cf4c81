"""A cell alone, in a process that has run no other: what failed is measured again there before it is believed."""

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

from conformance import interruption
from matrix.cell import Cell, parse_cell
from matrix.observation import Ending, Failure, Observation, Phase
from matrix.stack import Device


def observed_afresh(arguments: dict[str, Any], cell: Cell, seconds: float) -> Observation:
    """What a bench made from these arguments observes; it is ended if there is no answer after `seconds` and the grace.

    On a CPU the process is forked from one that has imported the libraries and done nothing else. What was forked can
    not use a GPU that its parent has asked for, so that there the libraries are imported anew.
    """
    context = multiprocessing.get_context("spawn" if arguments["device"] is Device.CUDA else "forkserver")
    if isinstance(context, multiprocessing.context.ForkServerContext):
        context.set_forkserver_preload(["conformance.bench"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_observe, args=(theirs, arguments, cell.id, seconds), daemon=True)
    process.start()
    theirs.close()
    phase, limit = Phase.LOAD, seconds + interruption.GRACE_SECONDS
    try:
        while ours.poll(limit):
            heard = ours.recv()
            if isinstance(heard, Observation):
                return heard
            phase = Phase(heard)
        return Observation(Ending.TIMEOUT, Failure(phase, "CellTimeout", f"no answer after {limit:g} s, alone"))
    except EOFError:
        return Observation(Ending.CRASHED, Failure(phase, "ProcessEnded", "the process died, alone"))
    finally:
        ours.close()
        process.kill()
        process.join()


def _observe(sender: Connection, arguments: dict[str, Any], cell_id: str, seconds: float) -> None:
    from conformance.bench import Bench
    from conformance.faults import find

    def on_phase(cell: Cell, phase: Phase) -> None:
        sender.send(phase.value)

    fault = find(arguments["fault"]) if arguments["fault"] else None
    bench = Bench(**{**arguments, "fault": fault}, on_phase=on_phase)
    with interruption.time_limit(seconds):
        sender.send(bench.run(parse_cell(cell_id)))
