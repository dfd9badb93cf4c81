"""A model in a process of its own: loaded once, then judged and timed in each way to run it, as often as is asked."""

import contextlib
import dataclasses
import gc
import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers

from conformance import spellings
from conformance.advising.prompts import FORCED, pad_token, shaped, timed_batch
from conformance.advising.quiet import quiet
from conformance.advising.references import forced_batch, positions_judged, start_of
from conformance.advising.task import Task, Way, truth_of
from conformance.course import Course
from conformance.evidence.said import said
from conformance.evidence.structure import bytes_of, evidence_of, structure
from conformance.faults.catalogue import find
from conformance.judging.comparison import compare, quantisation_cost
from conformance.models.batches import moved, told
from conformance.models.loading import Source, load, torch_dtype
from conformance.models.outputs import forward, logits_of
from conformance.rooms import doing
from matrix import oracle
from matrix.advice.noise import repeats
from matrix.advice.search import Failed, Finding, Sample, Spelled, State
from matrix.cell import parse_cell
from matrix.evidence import substitutions
from matrix.observation import Comparison
from matrix.quantisers import QUANTISATIONS
from matrix.stack import Device
from reports.printable import private_places

_WARM_UP = 2  # calls of what is compiled, or passes: the second finds what the first has compiled and allocated
_FIRST_TOKENS = 4  # of a call that only warms up where nothing is compiled


class Subject:
    """The model of a task."""

    def __init__(self, task: Task) -> None:
        spellings.quieten()
        self.task = task
        self.device = torch.device("cuda:0" if task.device is Device.CUDA else "cpu")
        self.source = Source(task.architecture, task.checkpoint, own=task.own)
        self.fault = find(task.fault) if task.fault else None
        self.load_seconds = 0.0
        self._warm: set[tuple[Way, int, int]] = set()
        self._right: set[tuple[Way, int, int, int]] = set()  # in which shapes what generate compiles was found right
        self._model: Any = None
        self._courses: dict[str, Course] = {}
        self.run_as(Way(task.cell))

    def run_as(self, way: Way) -> None:
        """From here on it is run so."""
        self.way, self.cell = way, parse_cell(way.cell)
        self.does = doing(self.cell)
        if way.cell not in self._courses:  # what is compiled tells the watch of the course in which it was
            self._courses[way.cell] = Course(self.cell, self.source, self.does, self.device)
        self.course = self._courses[way.cell]

    @property
    def model(self) -> Any:
        """It, loaded and transformed."""
        if self._model is None:
            began = time.perf_counter()
            with self.course.during("load"):
                model = load(self.cell, self.source, self.does)
            model = self.course.placed(model)
            self._synchronise()
            self.load_seconds = time.perf_counter() - began
            if self.fault is not None:
                self.fault.loaded(model, self.cell)
            self._parts = structure(model, torch_dtype(self.cell.dtype))
            self._model = self.does.transform(model, self.course)
        return self._model

    def judge(self, way: Way, rows: int, length: int, new: int) -> Finding:
        """Hold what it gives against the truth; what is compiled for its shapes, in those in which it is timed."""
        self.run_as(way)
        moment = time.time()
        with said() as warned:
            model = self.model
            known = torch.load(truth_of(self.task.references, self.cell), weights_only=True)
            self.course.phase = "generate" if self.cell.workload.decodes else "forward"
            with torch.no_grad(), self._at_work(model):
                compiled = self._compiled_by_generate(known, rows, length, new) if self.way.by_generate else None
                with self.course.watching(model):
                    logits = self._steps(known) if self.cell.workload.decodes else self._passed(known)
        evidence = evidence_of(self.course.watch, self._parts, warned, private_places(Path(self.task.references)))
        if self.course.watch.compiled is not None:
            recompiled = spellings.recompiled_since(moment)
            told = self.course.watch.compiled.counts() | {"replays": self.course.watch.replays}
            evidence = replace(evidence, graphs=told, recompiled=recompiled)
        other = [*substitutions(self.cell, self.task.architecture, evidence, self.task.device)]
        if compiled is not None:
            logits, graphs = compiled
            other += [] if graphs else ["generate compiled nothing by itself"]
        comparison, where = self._compared(known, logits)
        wrong = oracle.problems(comparison)
        lacking = evidence.missing_parameters
        state, why = State.RIGHT, ""
        if lacking:
            state, why = State.WRONG, f"the checkpoint lacks {len(lacking)} parameters: {', '.join(lacking[:3])}"
        elif wrong:
            state, why = State.WRONG, "; ".join(wrong)
        elif other:
            state, why = State.SUBSTITUTED, "; ".join(other)
        if state is State.RIGHT and compiled is not None:
            self._right.add((way, rows, length, new))
        tensors = [*model.parameters(), *model.buffers()]
        return Finding(
            state=state,
            why=why,
            loss=self._loss(logits.cpu(), where),
            ratio=max((bound.ratio for bound in oracle.bounds(comparison)), key=oracle.nan_last),
            load_seconds=self.load_seconds,
            weight_bytes=sum(map(bytes_of, tensors)),
            spelled=self._spelled(),
        )

    def _compared(self, known: Any, logits: torch.Tensor) -> tuple[Comparison, torch.Tensor]:
        """Logits of the first rows of the truth held against it, and where."""
        kept, rows = FORCED if self.cell.workload.decodes else 0, len(logits)
        whole = forced_batch(self.model, known["batch"], known["forced"], self.cell)
        where = positions_judged(whole, known["golden"], kept)[:rows]
        compared = compare(
            "logits",
            candidate=logits.cpu(),
            baseline=known["baseline"][:rows],
            golden=known["golden"][:rows],
            attended=where,
            dtype=str(self.cell.dtype),
            quantised=self.does.quantised,
            generated=bool(kept),
        )
        return compared, where

    def time(self, way: Way, rows: int, length: int, new: int) -> Sample | Failed:
        """One call after those that warm up, or the median of several short ones.

        What `generate` compiles anew for its shapes is judged in them first.
        """
        self.run_as(way)
        model = self.model
        batch = moved(timed_batch(self.source, model.config, rows, length), self.device, torch_dtype(self.cell.dtype))
        call = self._generating(batch, new) if self.cell.workload.decodes else self._passing(batch)
        with torch.no_grad(), said(), spellings.pinned(self.cell.sdpa_kernel), self._at_work(model):
            began = time.perf_counter()
            if self.way.by_generate and (way, rows, length, new) not in self._right:
                known = torch.load(truth_of(self.task.references, self.cell), weights_only=True)
                compared, _ = self._compared(known, self._compiled_by_generate(known, rows, length, new)[0])
                if wrong := oracle.problems(compared):
                    return Failed(State.WRONG, "; ".join(wrong))
                self._right.add((way, rows, length, new))
            warm = (way, rows, new) in self._warm
            for before in () if warm else self._warming(batch, new, call):
                before()
            self._synchronise()
            warmed = time.perf_counter() - began
            self._warm.add((way, rows, new))
            self._reset_peak()
            with quiet(self._answered):
                first, whole = self._clocked(call)
                if again := [self._clocked(call) for _ in range(repeats(whole))]:
                    first, whole = (median(seconds) for seconds in zip(*again, strict=True))
        return Sample(
            first=first,
            whole=whole,
            new=new,
            peak=self._peak(),
            warm_up=0.0 if warm else warmed,
        )

    def _clocked(self, call: Callable[[], float | None]) -> tuple[float, float]:
        """Seconds until the first token, and the whole call's."""
        self._synchronise()
        began = time.perf_counter()
        first = call()
        self._synchronise()
        whole = time.perf_counter() - began
        return (first - began if first is not None else whole), whole

    def held(self) -> int:
        """Bytes that it holds of the device while it waits."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            return int(torch.cuda.memory_reserved())
        return _of_process("VmRSS")

    def _compiled_by_generate(self, known: Any, rows: int, length: int, new: int) -> tuple[torch.Tensor, int]:
        """The same logits where `generate` is left to compile, and how many graphs were traced.

        It compiles for a number of rows and a size of the cache: in those that are timed, of the truth's rows as many
        as there are, so that nothing is compiled twice. Nobody may watch: what torch meets under a dispatch mode it
        compiles neither then nor ever after. What is watched is the model as it is, after that.
        """
        before, pad = spellings.graphs_traced(), pad_token(self.model.config)
        here = {
            "batch": shaped(known["batch"], rows, length, str(self.cell.padding), pad),
            "forced": known["forced"][[row % len(known["forced"]) for row in range(rows)]],
        }
        with spellings.pinned(self.cell.sdpa_kernel):
            logits = self._steps(here, left_to=True, new=max(new, FORCED))
        return logits[: len(known["forced"]), :FORCED], spellings.graphs_traced() - before

    def _steps(self, known: Any, left_to: bool = False, new: int = FORCED) -> torch.Tensor:
        """The logits of the steps of `generate`, which is made to choose the tokens that the truth was asked about."""
        batch = moved(known["batch"], self.device, torch_dtype(self.cell.dtype))
        forced = known["forced"].to(self.device)
        given = self._arguments(new, left_to)
        arguments = {**given, "output_logits": True, "return_dict_in_generate": True}
        # What is left to compile would compile a hook as well.
        with contextlib.nullcontext([]) if left_to else self.course.watch.cache_of(self.model) as used:
            output = self.model.generate(**batch, **arguments, logits_processor=[_Forced(forced)])
        if not left_to:
            self.course.watch.cache(used[0] if used else output.past_key_values)
        return torch.stack(output.logits, dim=1)

    def _passed(self, known: Any) -> torch.Tensor:
        batch = moved(known["batch"], self.device, torch_dtype(self.cell.dtype))
        return forward(self.model, told(batch, self.model, self.task.architecture))  # type: ignore[no-any-return]

    def _arguments(self, new: int, left_to: bool) -> dict[str, Any]:
        """What `generate` is given: what is pasted, and that nothing else than the configuration decides the tokens."""
        given: dict[str, Any] = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
        given |= self._of_cache(left_to)
        pad = getattr(self.model.generation_config, "pad_token_id", None)
        given["pad_token_id"] = 0 if pad is None else pad
        if self.model.config.is_encoder_decoder:
            given["decoder_start_token_id"] = start_of(self.model)
        return given

    def _of_cache(self, left_to: bool) -> dict[str, Any]:
        """Arguments of `generate`; `left_to` it whether it compiles by itself."""
        given: dict[str, Any] = dict(self.does.generation_arguments(self.cell.cache))
        if left_to:
            given.pop("disable_compile", None)
        return given

    def _generating(self, batch: dict[str, Any], new: int) -> Callable[[], float | None]:
        def call() -> float | None:
            clock = _Clock(self._synchronise)
            self.model.generate(**batch, **self._arguments(new, self.way.by_generate), logits_processor=[clock])
            return clock.first

        return call

    def _warming(self, batch: dict[str, Any], new: int, call: Callable[[], object]) -> list[Callable[[], object]]:
        """What comes before a call that counts. It is the call itself where it compiles for its shapes."""
        if self.task.apart or not self.cell.workload.decodes:
            return [call] * _WARM_UP
        return [self._generating(batch, min(new, _FIRST_TOKENS))]

    def _passing(self, batch: dict[str, Any]) -> Callable[[], None]:
        def call() -> None:
            logits_of(self.model(**batch))

        return call

    def _loss(self, logits: torch.Tensor, where: torch.Tensor) -> float | None:
        """Nats a position against the unquantised model, where the weights are real and the output is a choice."""
        if not self.does.quantised or not self.task.own or not self._has_head:
            return None
        plain = replace(self.cell, quantisation=QUANTISATIONS["none"])
        truth = torch.load(truth_of(self.task.references, plain), weights_only=True)["golden"][: len(logits)]
        return quantisation_cost(candidate=logits, unquantised=truth, attended=where).kl_mean

    @property
    def _has_head(self) -> bool:
        return self.task.architecture.auto_class != "AutoModel"

    def _spelled(self) -> Spelled:
        dtype = torch_dtype(self.cell.dtype)
        load_with = [f"{spellings.DTYPE_ARGUMENT}={dtype}", f'attn_implementation="{self.cell.attention}"']
        imports: list[str] = []
        placed = {} if self.cell.device_map == "none" else {"device_map": getattr(self._model, "hf_device_map", "auto")}
        if self.cell.device_map == "auto":
            placed = {"device_map": "auto"}
        for name, value in {**self.does.load_arguments(self.cell.quantisation, dtype), **placed}.items():
            text, needed = spelled(value)
            load_with.append(f"{name}={text}")
            imports += needed
        generate_with = [f"{name}={value!r}" for name, value in self._of_cache(self.way.by_generate).items()]
        return Spelled(tuple(load_with), tuple(generate_with), tuple(dict.fromkeys(imports)))

    @contextlib.contextmanager
    def _at_work(self, model: Any) -> Iterator[None]:
        with contextlib.nullcontext() if self.fault is None else self.fault.running(model):
            yield

    def _answered(self) -> float:
        """Something small that the device does."""
        return float(torch.ones(1, device=self.device).sum())

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _reset_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with contextlib.suppress(OSError):  # a kernel that does not let it: then the peak is of all so far
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return _of_process("VmHWM")


class _Forced(transformers.LogitsProcessor):  # type: ignore[misc]
    """Leaves one token to choose at each step: (rows, steps). After them it chooses whatever it likes."""

    def __init__(self, tokens: torch.Tensor) -> None:
        self.tokens, self.step = tokens, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.step == self.tokens.shape[1]:
            return scores
        chosen = self.tokens[:, self.step, None]
        self.step += 1
        return torch.full_like(scores, float("-inf")).scatter(1, chosen, 0.0)


class _Clock(transformers.LogitsProcessor):  # type: ignore[misc]
    """Keeps when the logits of the first token were there; after that it costs a call of a function a step."""

    def __init__(self, synchronise: Callable[[], None]) -> None:
        self.synchronise = synchronise
        self.first: float | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.first is None:
            self.synchronise()
            self.first = time.perf_counter()
        return scores


def spelled(value: Any) -> tuple[str, list[str]]:
    """How somebody writes an argument, and what has to be imported for it."""
    imports: list[str] = []
    return _spelled(value, imports), list(dict.fromkeys(imports))


def _spelled(value: Any, imports: list[str]) -> str:
    kind = type(value)
    if isinstance(value, transformers.TorchAoConfig):
        given = {"": value.quant_type}
    elif isinstance(value, transformers.utils.quantization_config.QuantizationConfigMixin):
        said_ = {name: known for name, known in value.to_diff_dict().items() if not name.startswith("_")}
        given = {name: known for name, known in said_.items() if name != "quant_method"}
    elif dataclasses.is_dataclass(value):
        given = {
            one.name: getattr(value, one.name)
            for one in dataclasses.fields(value)
            if one.init and getattr(value, one.name) != one.default
        }
    elif hasattr(value, "_fields"):  # a NamedTuple
        given = value._asdict()
    elif isinstance(value, list):
        return f"[{', '.join(_spelled(part, imports) for part in value)}]"
    elif isinstance(value, Enum):
        imports.append(f"from {_public(kind)} import {kind.__name__}")
        return str(value)
    elif isinstance(value, torch.dtype):
        imports.append("import torch")
        return str(value)
    else:
        return f'"{value}"' if isinstance(value, str) else repr(value)
    imports.append(f"from {_public(kind)} import {kind.__name__}")
    inside = (f"{name}={_spelled(known, imports)}".removeprefix("=") for name, known in given.items())
    return f"{kind.__name__}({', '.join(inside)})"


def _public(kind: type) -> str:
    """The shortest module from which it can be imported."""
    parts = kind.__module__.split(".")
    names = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return next(name for name in names if getattr(importlib.import_module(name), kind.__name__, None) is kind)


def _of_process(what: str) -> int:
    """Bytes of a line of /proc/self/status; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
    return 0
