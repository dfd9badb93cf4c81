"""xdist: how many workers, which GPU each has, and what a dead one leaves behind."""

import math
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from conformance.plugin.breadcrumbs import read_breadcrumb
from conformance.plugin.collection import cell_id_of
from conformance.plugin.deaths import KILLED
from conformance.plugin.forkserver import WAITING, launcher, take_threads
from conformance.plugin.settings import Settings
from conformance.ranks import ALL_GPUS
from matrix.cell import parse_cell
from matrix.errors import UsageError, quoted
from matrix.expectation import expect
from matrix.observation import Ending, Failure, Observation, Phase
from matrix.stack import Device, Stack
from matrix.verdict import judge
from matrix.waiver import waiver_for
from reports.document import Record, make_record

# A worker holds a CUDA context and a few models of fixtures: about 3 GiB with room to breathe.
_MIB_PER_WORKER = 5000
_WORKERS_PER_GPU = 12
_LONGEST_WARM = 24 * 60  # minutes
_AUTO = "PYTEST_XDIST_AUTO_NUM_WORKERS"

_STACK: TypeAdapter[Stack] = TypeAdapter(Stack)


def auto_workers(stack: Stack) -> int | None:
    """GPUs times as many as their free memory holds, never more than cores; on a CPU a worker per core.

    None leaves the answer to xdist, as when PYTEST_XDIST_AUTO_NUM_WORKERS speaks.
    """
    if os.environ.get(_AUTO):
        return None
    cores = cpu_count()
    if stack.device is Device.CPU:
        return cores
    by_memory = sum(max(1, min(_WORKERS_PER_GPU, gpu.free_mib // _MIB_PER_WORKER)) for gpu in stack.gpus)
    return max(1, min(cores, by_memory))


def no_workers_are_asked_for() -> bool:
    """Whether the environment says that `-n auto` is no worker."""
    told = os.environ.get(_AUTO, "")
    return told.isdecimal() and int(told) == 0


def cpu_count() -> int:
    """The cores that this process may use; PYTHON_CPU_COUNT says how many, as it does to Python from 3.13 on."""
    told = os.environ.get("PYTHON_CPU_COUNT", "")
    if told.isdigit() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_ready_workers(option: Any) -> None:
    """Have xdist start its workers from a process that has imported what they need, where that can be.

    Raises:
        UsageError: for how long that process is to stay is no number of minutes.
    """
    minutes = _minutes(option.keep_warm)
    if find_spec("torch") is None or any(spec != "popen" for spec in option.tx):
        return
    python = launcher(minutes)
    if python != [sys.executable]:
        option.tx = [f"popen//python={shlex.join(python)}" for _ in option.tx]


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes <= _LONGEST_WARM:
        raise UsageError(f"--keep-warm {quoted(text)}: must be a number of minutes from 0 to {_LONGEST_WARM}")
    return minutes


def begin_together(group: Any, specs: list[Any]) -> None:
    """Have the processes of all workers begin at once, in a group of execnet, to which xdist adds one after the other.

    It waits for each: half a second on a large machine, 24 times.
    """
    make = group.makegateway
    with ThreadPoolExecutor(len(specs)) as pool:
        made = {gateway.id: gateway for gateway in pool.map(make, specs)}
    group.makegateway = lambda spec: made.pop(spec.id, None) or make(spec)


def gpu_names(gpus: int, visible: str | None) -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls so many GPUs, each by itself, given what it says of all."""
    listed = [part.strip() for part in (visible or "").split(",") if part.strip()]
    return listed[:gpus] if listed else [str(index) for index in range(gpus)]


class GpuPool:
    """Gives each new worker the GPU with the fewest workers.

    The worker's number modulo the GPUs would go wrong after a restart: gw3 replaces gw1.
    """

    def __init__(self, gpus: int, visible: str | None) -> None:
        self._names = gpu_names(gpus, visible)
        self._in_use: Counter[str] = Counter()
        self._held: dict[str, str] = {}

    def acquire(self, worker: str) -> str | None:
        """The value of CUDA_VISIBLE_DEVICES for this worker, or None without GPUs."""
        if not self._names:
            return None
        name = min(self._names, key=lambda candidate: self._in_use[candidate])
        self._in_use[name] += 1
        self._held[worker] = name
        return name

    def release(self, worker: str) -> None:
        """The worker is gone."""
        name = self._held.pop(worker, None)
        if name is not None:
            self._in_use[name] -= 1


@dataclass(frozen=True)
class WorkerInput:
    """What a controller tells a worker, as plain JSON types."""

    stack: str
    report_dir: str
    breadcrumbs: str
    plan: str  # the cells' ids, which need not be chosen again
    known: str  # cells and rows that an earlier run has measured
    threads: int
    gpu: str | None

    @staticmethod
    def make(
        settings: Settings, breadcrumbs: Path, known: Iterable[str], workers: int, gpu: str | None
    ) -> dict[str, Any]:
        """The dictionary to put into `node.workerinput`."""
        threads = max(1, cpu_count() // max(1, workers))
        stack = _STACK.dump_json(settings.stack).decode()
        plan = " ".join(cell.id for cell in settings.plan)
        told = WorkerInput(stack, str(settings.report_dir), str(breadcrumbs), plan, " ".join(known), threads, gpu)
        return dict(vars(told))

    def apply(self) -> Stack:
        """Pin this process to its GPU and share of cores, before anything imports torch; the controller's stack."""
        if self.gpu is not None:
            os.environ[ALL_GPUS] = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpu
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[variable] = str(self.threads)
        for variable, policy in WAITING.items():  # of a process that was forked it was said before
            os.environ.setdefault(variable, policy)
        # By itself each worker would keep a pool of as many compiling processes as there are cores. Of a share of one
        # there is no pool, and nothing to wait for in vain (pytorch#121197, #148651: 3 of 2,877 cells of a whole run).
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(self.threads))
        take_threads(self.threads, int(os.environ["TORCHINDUCTOR_COMPILE_THREADS"]))
        return _STACK.validate_json(self.stack)


def crash_record(
    nodeid: str, worker: str, breadcrumbs: Path, settings: Settings, *, killed: bool = False, again: bool = False
) -> Record | None:
    """The record of the cell that a worker died in, or None if that cell had not begun.

    `killed` says whether the kernel has ended a process meanwhile, for want of memory.

    A worker that lost its device sends its record and leaves; the next cell in its queue is blamed by
    xdist though it never ran. If that comes `again`, the cell has begun and nobody could be told.
    """
    cell_id = cell_id_of(nodeid)
    breadcrumb = read_breadcrumb(breadcrumbs / worker)
    if cell_id is not None and again and (breadcrumb is None or breadcrumb.get("cell") != cell_id):
        breadcrumb = {"cell": cell_id, "phase": Phase.LOAD, "deadline": math.inf}
    if cell_id is None or breadcrumb is None or breadcrumb.get("cell") != cell_id:
        return None
    if breadcrumb.get("record"):  # it died while the cell was explained, which says nothing of the cell
        return Record.model_validate_json(breadcrumb["record"])
    cell = parse_cell(cell_id)
    expectation = expect(cell, settings.stack, settings.rules)
    phase = Phase(breadcrumb["phase"])
    hung = time.time() >= breadcrumb["deadline"]
    if hung:
        ending, said = Ending.TIMEOUT, "the process did not answer and was ended"
    elif killed:
        ending, said = Ending.OUT_OF_MEMORY, f"the process died, {KILLED}"
    else:
        ending, said = Ending.CRASHED, "the process died"
    observation = Observation(ending, failure=Failure(phase, "ProcessDied", said))
    architecture = settings.architectures[cell.architecture]
    judgement = judge(cell, architecture, observation, expectation, settings.stack.device)
    return make_record(
        cell,
        judgement=judgement,
        expectation=expectation,
        observation=observation,
        waiver=waiver_for(cell, judgement, settings.stack, settings.waivers),
        worker=worker,
        seed=settings.seed,
    )


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is an xdist worker."""
    return hasattr(config, "workerinput")
