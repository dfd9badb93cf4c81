"""What a right cell takes beside its twin: both loaded here, run in turns, and never while their ops are watched."""

import contextlib
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from conformance.course import Course
from conformance.decoding import generated
from conformance.evidence.structure import bytes_of
from conformance.judging.precision import convolutions_in_float32
from conformance.models.batches import told
from conformance.models.formats import FORMATTED
from conformance.models.loading import Source, written
from conformance.models.outputs import forward
from conformance.rooms import doing
from conformance.spellings import pinned
from conformance.workloads.generate import NEW_TOKENS
from matrix.cell import Cell
from matrix.observation import Price, Side
from matrix.twin import twin_of
from reports.document import six_digits

WARM_UPS = 2  # the first compiles and allocates, the second finds what the first has left
TURNS = 6  # of each side; what they differ by is the noise
_WEIGHTS = {".safetensors", ".gguf", ".bin"}

Clock = Callable[[], float]  # in seconds


def price(cell: Cell, source: Source, device: torch.device, seed: int, clock: Clock = time.perf_counter) -> Price:
    """What the cell takes, and its twin; it must have one.

    The sides take turns, and in each turn the other one begins: what else the machine does meets both.
    """
    twin = twin_of(cell)
    assert twin is not None, cell
    axis, plain = twin
    began = time.perf_counter()
    own, usual = (_Timed(one, source, device, seed, clock) for one in (cell, plain))
    for side in (own, usual):
        side.warm_up()
    for turn in range(TURNS):
        for side in (own, usual) if turn % 2 else (usual, own):
            side.take_turn()
    files = axis == "quantisation"
    return Price(
        axis=axis,
        twin=plain.id,
        unit=cell.workload.priced_by,
        own=own.side(files=files),
        usual=usual.side(files=files),
        spent=round(time.perf_counter() - began, 3),
    )


class _Stamps(transformers.LogitsProcessor):  # type: ignore[misc]
    """Keeps when the logits of each step were there; `generate` itself waits for a GPU at each step."""

    def __init__(self, now: Clock) -> None:
        self.now = now
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.times.append(self.now())
        return scores


class _Timed:
    """A cell's model in place, and what its turns took."""

    def __init__(self, cell: Cell, source: Source, device: torch.device, seed: int, clock: Clock) -> None:
        self._course = Course(cell, source, doing(cell), device, seed)
        self._clock = clock
        self._gpu = device.type == "cuda"
        self._seconds: list[float] = []
        self._prompts: list[float] = []
        self._peak: float | None = None
        gc.collect()
        before = self._allocated()
        self._model, self._batch = self._course.prepared()
        self._held = self._allocated() - before
        # Before it runs: bitsandbytes repacks weights in the first pass.
        self._weight_bytes = sum(map(bytes_of, self._model.parameters()))

    def warm_up(self) -> None:
        """Run it until all that is made once is made, and see what it needs of the GPU beside the model."""
        before = self._allocated()
        for _ in range(WARM_UPS):
            if self._gpu:
                torch.cuda.reset_peak_memory_stats()
            self._run()
        if self._gpu:
            self._peak = (self._held + torch.cuda.max_memory_allocated() - before) / 2**20

    def take_turn(self) -> None:
        """Run it once more, on the clock."""
        prompt, seconds = self._run()
        self._seconds.append(seconds)
        if prompt is not None:
            self._prompts.append(prompt)

    def side(self, *, files: bool) -> Side:
        """What was measured, and what the files of its weights take if that is asked."""
        return Side(
            seconds=tuple(six_digits(one) for one in self._seconds),
            prompt_seconds=tuple(six_digits(one) for one in self._prompts),
            peak_mib=None if self._peak is None else six_digits(self._peak),
            weight_bytes=self._weight_bytes,
            disk_bytes=self._disk_bytes() if files else None,
        )

    def _run(self) -> tuple[float | None, float]:
        """Seconds of the prompt, where there is one, and of a pass or of each new token after it."""
        course, cell = self._course, self._course.cell
        with torch.no_grad(), pinned(cell.sdpa_kernel), convolutions_in_float32():
            if not cell.workload.decodes:
                given = told(self._batch, self._model, course.source.architecture)
                began = self._now()
                forward(self._model, given)
                return None, self._now() - began
            stamps = _Stamps(self._now)
            began = self._now()
            generated(self._model, self._batch, course, NEW_TOKENS, logits_processor=[stamps])
        first, *_, last = stamps.times
        return first - began, (last - first) / (len(stamps.times) - 1)

    def _now(self) -> float:
        if self._gpu:
            torch.cuda.synchronize()
        return self._clock()

    def _allocated(self) -> int:
        return int(torch.cuda.memory_allocated()) if self._gpu else 0

    def _disk_bytes(self) -> int | None:
        """Of a checkpoint in the cell's format; of a model that cannot be saved None."""
        course = self._course
        if course.does.written:
            return _size_of(written(course.cell, course.source, course.does) / FORMATTED)
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Exception):  # as each library refuses it
            self._model.save_pretrained(folder)
            return _size_of(folder)
        return None


def _size_of(folder: Any) -> int:
    return sum(path.stat().st_size for path in Path(folder).iterdir() if path.suffix in _WEIGHTS)
