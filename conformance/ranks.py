"""Several processes that hold one model together: started once, asked cell by cell, ended where one does not answer.

Each runs the cell on a bench of its own, with the process group of `torch.distributed` that transformers finds there:
gloo on a CPU, NCCL where each has a GPU. The first one holds what was found against golden; the others do so too where
they found anything else. Starting them takes as long as a dozen cells.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from conformance.interruption import CellTimeout, end_with_parent
from conformance.plugin.forkserver import ROOT, launcher
from matrix.cell import Cell
from matrix.observation import Comparison, Ending, Evidence, Failure, Observation, Phase

SECONDS = 240.0  # for a cell, the start of the processes included
ALL_GPUS = "CONFORMANCE_GPUS"  # the CUDA_VISIBLE_DEVICES of which each worker has one, for cells that take several
_GRACE = 10.0  # seconds for the others, once one has failed: they may wait for it
_LOOK = 0.5  # seconds for a process to write down where it is
_CODE = "from conformance.rank import serve; serve()"
_FRAME = re.compile(r'File "(?P<path>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)')
_FRAMES_KEPT = 6


@dataclass
class _Rank:
    """One of the processes, from outside."""

    number: int
    process: subprocess.Popen[bytes]
    asking: Connection
    hearing: Connection
    said: Path  # what it prints, last of all where it was when it died
    pid: int = 0  # of the process itself, which may be forked by another; it says so when it is ready
    phase: Phase = Phase.LOAD

    def stack(self) -> tuple[str, ...]:
        """Where it is or was, as far as it has said so, the innermost frame last."""
        with contextlib.suppress(OSError):
            return frames_in(self.said.read_text(encoding="utf-8", errors="replace"))
        return ()


@dataclass
class Ranks:
    """A group of processes, seen from the one that asks them.

    Args:
        size: how many.
        arguments: of the bench of each (`conformance.bench.Bench`).
        on_phase: told where the first of them is.
        seconds: for a cell.
    """

    size: int
    arguments: Mapping[str, Any]
    on_phase: Callable[[Cell, Phase], None]
    seconds: float = SECONDS
    _folder: Path | None = None
    _ranks: list[_Rank] = field(default_factory=list)

    def observe(self, cell: Cell, fault: str = "") -> Observation:
        """What they observe of a cell, as one; a fault of that name is seeded into each."""
        try:
            if not self._ranks:
                self._start()
            for rank in self._ranks:
                rank.phase = Phase.LOAD
                with contextlib.suppress(OSError):  # it died meanwhile, which is heard below
                    rank.asking.send((cell.id, fault))
            answers = self._answers(cell)
        except CellTimeout as error:
            answers = self._hung(str(error))
        except BaseException:
            self.close()
            raise
        seen = together(answers)
        if not can_go_on(answers, self.size):
            self.close()
        return seen

    def close(self) -> None:
        """End them all."""
        for rank in self._ranks:
            rank.process.kill()
            if rank.pid:
                with contextlib.suppress(OSError):
                    os.kill(rank.pid, signal.SIGKILL)
            with contextlib.suppress(EOFError, OSError):
                while rank.hearing.poll(_GRACE):  # what it said last, then that it has ended
                    rank.hearing.recv()
            for end in (rank.asking, rank.hearing):
                end.close()
            rank.process.wait()
        self._ranks.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        self._folder = folder = Path(tempfile.mkdtemp(prefix="ranks-"))
        for number in range(self.size):
            said = folder / f"said-{number}"
            with said.open("wb") as stderr:
                process = subprocess.Popen(
                    [*launcher(), "-c", _CODE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    cwd=ROOT,
                    env=variables(os.environ, number, self.size),
                    preexec_fn=end_with_parent,
                )
            asking = Connection(os.dup(process.stdin.fileno()), readable=False)  # type: ignore[union-attr]
            hearing = Connection(os.dup(process.stdout.fileno()), writable=False)  # type: ignore[union-attr]
            for end in (process.stdin, process.stdout):
                end.close()  # type: ignore[union-attr]
            self._ranks.append(_Rank(number, process, asking, hearing, said))
            with contextlib.suppress(OSError):
                asking.send((dict(self.arguments), number, self.size, str(folder), self.seconds))

    def _answers(self, cell: Cell) -> dict[int, Observation]:
        """By number, in the order in which they came; some are lacking where one that failed keeps others waiting."""
        answers: dict[int, Observation] = {}
        until, failed = time.monotonic() + self.seconds, False
        while len(answers) < self.size:
            waiting = {rank.hearing: rank for rank in self._ranks if rank.number not in answers}
            ready = wait(list(waiting), timeout=max(0.0, until - time.monotonic()))
            if not ready and failed:
                return answers
            if not ready:
                return self._hung(f"no answer after {self.seconds:g} s")
            for rank in (waiting[hearing] for hearing in ready):  # type: ignore[index]
                heard = self._heard(rank)
                if isinstance(heard, Observation):
                    answers[rank.number] = heard
                    if heard.failure is not None and not failed:
                        failed, until = True, time.monotonic() + _GRACE
                elif isinstance(heard, int):
                    rank.pid = heard
                else:
                    rank.phase = Phase(heard)
                    if rank.number == 0:
                        self.on_phase(cell, rank.phase)
        return answers

    def _heard(self, rank: _Rank) -> Any:
        try:
            return rank.hearing.recv()
        except (EOFError, OSError):
            rank.process.wait()
            how = f"process {rank.number} of {self.size} ended with {rank.process.returncode}"
            failure = Failure(rank.phase, "ProcessEnded", how, frames=rank.stack())
            return Observation(Ending.CRASHED, failure)

    def _hung(self, how: str) -> dict[int, Observation]:
        """That there was no answer, and where each of them waits."""
        for rank in self._ranks:
            if rank.pid:
                with contextlib.suppress(OSError):
                    os.kill(rank.pid, signal.SIGUSR1)
        time.sleep(_LOOK)
        found = {}
        for rank in self._ranks:
            frames = rank.stack()
            where = f"; process {rank.number} in {frames[-1]}" if frames else ""
            found[rank.number] = Observation(
                Ending.TIMEOUT, Failure(rank.phase, "CellTimeout", how + where, frames=frames)
            )
        return found or {0: Observation(Ending.TIMEOUT, Failure(Phase.LOAD, "CellTimeout", how))}


def variables(environ: Mapping[str, str], number: int, size: int) -> dict[str, str]:
    """The environment of one of the processes: what torchrun would tell it, a share of the cores, and all GPUs."""
    found = {**environ, "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(size)}
    if ALL_GPUS in found:
        found["CUDA_VISIBLE_DEVICES"] = found.pop(ALL_GPUS)
        if not found["CUDA_VISIBLE_DEVICES"]:
            del found["CUDA_VISIBLE_DEVICES"]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        threads = found.get(name, "")
        found[name] = str(max(1, (int(threads) if threads.isdecimal() else os.cpu_count() or 1) // size))
    found.setdefault("GLOO_SOCKET_IFNAME", "lo")  # they are on one machine, whatever its name leads to
    found.setdefault("NCCL_NVLS_ENABLE", "0")  # multicast over NVLink wants rights that a container need not have
    return found


def frames_in(text: str) -> tuple[str, ...]:
    """The frames that `faulthandler` wrote down last, the innermost last, none of them the suite's own."""
    _, _, last = text.rpartition("most recent call first")
    found = [(Path(one["path"]), one["line"], one["name"]) for one in _FRAME.finditer(last)]
    shown = [
        f"{'/'.join(path.parts[-3:])}:{line} {name}" for path, line, name in found if not path.is_relative_to(ROOT)
    ]
    return tuple(reversed(shown[:_FRAMES_KEPT]))


def together(answers: Mapping[int, Observation]) -> Observation:
    """What several processes observed, as one observation: of failures the one that the others came from.

    That is the death of a process, else the first that came. What each has found and judged is held side by side.
    """
    failed = {number: seen for number, seen in answers.items() if seen.ending is not Ending.COMPLETED}
    if failed:
        number = next((one for one, seen in failed.items() if seen.ending is Ending.CRASHED), next(iter(failed)))
        seen = failed[min(failed)] if _same_failure(list(answers.values())) else failed[number]
        others = [
            f"process {one}: {other.failure.type}: {other.failure.message.strip().partition(chr(10))[0]}"
            for one, other in failed.items()
            if other is not seen and other.failure is not None and not _same_failure([seen, other])
        ]
        failure = replace(seen.failure, causes=(*seen.failure.causes, *others)) if seen.failure is not None else None
        return replace(seen, failure=failure, evidence=_evidence(seen.evidence, answers))
    first = answers[0]
    comparisons = [*first.comparisons]
    for number, seen in sorted(answers.items()):
        comparisons += [_of_process(number, one) for one in seen.comparisons if number]
    peaks = [seen.peak_memory_mib for seen in answers.values() if seen.peak_memory_mib is not None]
    return replace(
        first,
        comparisons=tuple(comparisons),
        evidence=_evidence(first.evidence, answers),
        peak_memory_mib=max(peaks, default=None),
    )


def _of_process(number: int, comparison: Comparison) -> Comparison:
    return replace(comparison, name=f"process {number}: {comparison.name}")


def _evidence(evidence: Evidence, answers: Mapping[int, Observation]) -> Evidence:
    held = [answers[number].evidence for number in sorted(answers)]
    return replace(
        evidence,
        rank_bytes=tuple(one.weight_bytes for one in held if one.weight_bytes),
        divided=min(one.divided for one in held),
        missing_parameters=tuple(sorted({name for one in held for name in one.missing_parameters})),
    )


def can_go_on(answers: Mapping[int, Observation], size: int) -> bool:
    """Whether nobody is left waiting for another: all have come to an end, or to the same exception."""
    seen = list(answers.values())
    if len(seen) < size:
        return False
    return all(one.ending is Ending.COMPLETED for one in seen) or _same_failure(seen)


def _same_failure(seen: list[Observation]) -> bool:
    raised = {(one.failure.phase, one.failure.type, one.failure.frames) for one in seen if one.failure is not None}
    return len(raised) == 1 and all(one.ending is Ending.RAISED for one in seen)
