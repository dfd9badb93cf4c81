"""Time and memory of prefills and generations, by attention backend: what C1 to C4 are judged by."""

import functools
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from conformance import spellings
from conformance.claims.shapes import FALCON_7B, LLAMA_7B, Shape, Weights
from conformance.evidence.said import said
from conformance.evidence.structure import evidence_of
from conformance.evidence.watch import Watch
from matrix.axes import SdpaKernel
from matrix.claims import EAGER, FLASH, OUT_OF_MEMORY, SDPA
from matrix.kernels import kernels_seen
from reports.document import Point

LEAST_REPETITIONS, MOST_REPETITIONS = 3, 20
ENOUGH_SECONDS = 0.8  # of repetitions; fewer than three are never taken
TOO_LARGE = f"{OUT_OF_MEMORY} at a smaller size"
OUT_OF_TIME = "not measured: the time for this claim was spent"


@dataclass(frozen=True)
class Backend:
    """An attention implementation and, where pinned, a kernel of SDPA."""

    attention: str
    kernel: SdpaKernel = SdpaKernel.UNPINNED

    @property
    def name(self) -> str:
        """As the report's columns are called."""
        return self.attention if self.kernel is SdpaKernel.UNPINNED else f"{self.attention} ({self.kernel})"


COMPARED = (Backend(EAGER), Backend(FLASH), Backend(SDPA))
# Those that a claim needs come first.
BACKENDS = (
    *COMPARED,
    Backend(SDPA, SdpaKernel.FLASH),
    Backend(SDPA, SdpaKernel.MEM_EFFICIENT),
    Backend(SDPA, SdpaKernel.CUDNN),
)
# At one size each: the math kernel costs what eager attention does, and flex_attention is compiled for every size.
SLOW = (Backend(SDPA, SdpaKernel.MATH), Backend("flex_attention"))


@dataclass(frozen=True)
class Place:
    """What is measured at a time."""

    shape: str
    backend: Backend
    batch: int
    sequence: int
    padding: float = 0.0
    new_tokens: int = 0  # 0: a prefill

    @property
    def point(self) -> Point:
        """The point without a measurement."""
        return Point(
            subject=self.shape,
            backend=self.backend.name,
            workload="generate" if self.new_tokens else "prefill",
            batch=self.batch,
            sequence=self.sequence,
            padding=padded_share(self.batch, self.sequence, self.padding),
        )

    def is_within(self, other: "Place") -> bool:
        """Whether this asks for no more of the same model and backend than the other."""
        return (self.shape, self.backend, self.new_tokens) == (other.shape, other.backend, other.new_tokens) and (
            self.batch <= other.batch and self.sequence <= other.sequence and self.padding >= other.padding
        )


@dataclass(frozen=True)
class Grid:
    """Where the claims are measured, and how many seconds each may take."""

    shapes: tuple[Shape, ...] = (LLAMA_7B, FALCON_7B)
    sequence: int = 4096  # C1 and the long end of C2
    batches: tuple[int, ...] = (1, 2, 4, 8)
    short: int = 512  # of C2
    paddings: tuple[float, ...] = (0.0, 0.3, 0.6, 0.9)
    padded_batch: int = 4
    sequences: tuple[int, ...] = (512, 1024, 2048, 4096, 8192, 16384)  # of C3
    generated_batch: int = 8
    prompt: int = 1024
    new_tokens: int = 32
    prompt_padding: float = 0.5
    # Together with the loads less than eight minutes.
    seconds: tuple[tuple[str, float], ...] = (("C1", 150.0), ("C2", 110.0), ("C3", 100.0), ("C4", 80.0))

    def places(self, claim: str, shape: Shape) -> list[Place]:
        """All of one claim and model, those that are needed most first, small before large."""
        if claim == "C1":
            sizes = [(batch, self.sequence, 0.0, 0) for batch in self.batches]
            return _places(shape, BACKENDS, sizes) + _places(shape, SLOW, sizes[:1])
        if claim == "C2":
            lengths = (self.short, self.sequence)
            sizes = [(self.padded_batch, length, share, 0) for length in lengths for share in reversed(self.paddings)]
            return _places(shape, COMPARED, sizes)
        if claim == "C3":
            return _places(shape, BACKENDS, [(1, length, 0.0, 0) for length in self.sequences])
        shares = (self.prompt_padding, 0.0)
        sizes = [(self.generated_batch, self.prompt, share, self.new_tokens) for share in shares]
        return _places(shape, (Backend(FLASH), Backend(SDPA)), sizes)


class Benchmarks:
    """Measures points on one device, each once, and keeps them for the claims that share them.

    Args:
        device: where.
        grid: the sizes.
        dtype: of the weights.
        flash_attention: what `flash_attention_2` is played by. Tests put `sdpa` here, which needs no GPU.
    """

    def __init__(
        self,
        device: torch.device,
        grid: Grid,
        *,
        dtype: torch.dtype = torch.bfloat16,
        flash_attention: str = FLASH,
    ) -> None:
        spellings.quieten()
        self._device = device
        self._grid = grid
        self._dtype = dtype
        self._flash_attention = flash_attention
        self._points: dict[Place, Point] = {}
        self._weights: Weights | None = None

    def points(self, claim: str) -> list[Point]:
        """The points of C1, C2, C3 or C4: measured, or with the reason why not."""
        deadline = time.monotonic() + dict(self._grid.seconds)[claim]
        found = []
        for index, shape in enumerate(self._grid.shapes):
            # What one model leaves of its share is for those that follow.
            share = (deadline - time.monotonic()) / (len(self._grid.shapes) - index)
            end = time.monotonic() + share
            for place in self._grid.places(claim, shape):
                if place not in self._points and time.monotonic() > end:
                    found.append(place.point.model_copy(update={"failure": OUT_OF_TIME}))
                else:
                    found.append(self._point(shape, place))
        return found

    def release(self) -> None:
        """Free the weights."""
        self._weights = None
        self._collect()

    def _point(self, shape: Shape, place: Place) -> Point:
        if place not in self._points:
            failed = (other for other, point in self._points.items() if point.failure.startswith(OUT_OF_MEMORY))
            if any(other.is_within(place) for other in failed):
                self._points[place] = place.point.model_copy(update={"failure": TOO_LARGE})
            else:
                self._points[place] = self._measured(shape, place)
        return self._points[place]

    def _measured(self, shape: Shape, place: Place) -> Point:
        if self._weights is None or self._weights.shape != shape:
            self.release()
            self._weights = Weights(shape, self._device, self._dtype)
        self._collect()
        failure = ""
        try:
            return self._timed(self._weights, place)
        except Exception as error:  # whatever a library raises is a measurement
            failure = failure_of(error)
        # Here the exception is gone, and with it the tensors that its traceback held.
        self._collect()
        self._synchronise()  # raises where the device is lost: then nothing more can be measured
        return place.point.model_copy(update={"failure": failure})

    def _timed(self, weights: Weights, place: Place) -> Point:
        attention = place.backend.attention
        model = weights.under(self._flash_attention if attention == FLASH else attention)
        if attention == "flex_attention":
            spellings.forget_compiled()
        batch = padded_batch(place.batch, place.sequence, place.padding, model.config.vocab_size)
        batch = {name: tensor.to(self._device) for name, tensor in batch.items()}
        run = functools.partial(_generate if place.new_tokens else _prefill, model, batch, place.new_tokens)
        watch = Watch()
        with torch.no_grad(), said(), spellings.pinned(place.backend.kernel):
            with watch.calls(model):  # the warm-up: to watch costs time, so it is not timed
                run()
            self._synchronise()
            before = self._allocated()
            if self._device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self._device)
            seconds = repeat(run, self._synchronise)
        peak = None
        if self._device.type == "cuda":
            peak = (torch.cuda.max_memory_allocated(self._device) - before) / 2**20
        rate = place.batch * place.new_tokens / statistics.median(seconds) if place.new_tokens else None
        measured = {"seconds": seconds, "peak_mib": peak, "tokens_per_second": rate}
        return place.point.model_copy(update={**measured, "kernels": list(kernels_seen(evidence_of(watch)))})

    def _allocated(self) -> int:
        return torch.cuda.memory_allocated(self._device) if self._device.type == "cuda" else 0

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _collect(self) -> None:
        if self._device.type == "cuda":  # elsewhere memory is not measured, and to collect takes half a second
            gc.collect()
            torch.cuda.empty_cache()


def repeat(run: Callable[[], object], synchronise: Callable[[], None]) -> list[float]:
    """Seconds of each repetition: at least three, and more while they are short."""
    seconds: list[float] = []
    while len(seconds) < LEAST_REPETITIONS or (sum(seconds) < ENOUGH_SECONDS and len(seconds) < MOST_REPETITIONS):
        synchronise()
        started = time.perf_counter()
        run()
        synchronise()
        seconds.append(time.perf_counter() - started)
    return seconds


def lengths(rows: int, sequence: int, padding: float) -> list[int]:
    """Tokens of each row that are no padding: uneven, so that together the wanted share of the batch is padding.

    They rise evenly around their mean, as far as the sequence and one token allow.
    """
    wanted = max(rows, min(rows * sequence, round((1 - padding) * rows * sequence)))
    mean = wanted / rows
    spread = 0.9 * min(mean - 1, sequence - mean)
    found = [int(mean + spread * (2 * row / (rows - 1) - 1)) if rows > 1 else int(mean) for row in range(rows)]
    for row in itertools.islice(itertools.cycle(range(rows)), wanted - sum(found)):
        found[row] += 1
    return found


def padded_share(rows: int, sequence: int, padding: float) -> float:
    """The share that padding really has of such a batch."""
    return round(1 - sum(lengths(rows, sequence, padding)) / (rows * sequence), 4)


def padded_batch(rows: int, sequence: int, padding: float, vocabulary: int) -> dict[str, torch.Tensor]:
    """Random tokens, padded on the left, with the mask that a tokenizer would give: ones where nothing is padded."""
    tokens = torch.randint(4, vocabulary, (rows, sequence), generator=torch.Generator().manual_seed(1))
    real = torch.tensor(lengths(rows, sequence, padding))
    mask = (torch.arange(sequence)[None] >= sequence - real[:, None]).long()
    return {"input_ids": tokens * mask, "attention_mask": mask}


def failure_of(error: Exception) -> str:
    """The one line by which a report tells why there is no measurement."""
    text = str(error).strip()
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "out of memory" in text.lower():
        return OUT_OF_MEMORY
    first = text.splitlines()[0] if text else ""
    return f"{type(error).__name__}: {first}"[:300]


def _places(shape: Shape, backends: Iterable[Backend], sizes: Iterable[tuple[int, int, float, int]]) -> list[Place]:
    sizes = list(sizes)
    return [Place(shape.name, backend, *size) for backend in backends for size in sizes]


def _prefill(model: Any, batch: dict[str, torch.Tensor], _: int) -> None:
    # The last position alone goes through the head, as in generation: its logits would drown attention.
    model(**batch, use_cache=False, **spellings.last_logits_only(model))


def _generate(model: Any, batch: dict[str, torch.Tensor], new_tokens: int) -> None:
    model.generate(
        **batch, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, pad_token_id=0, use_cache=True
    )
