"""One cell in, one observation out."""

import contextlib
import gc
import shutil
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import transformers

from conformance import spellings
from conformance.course import Course
from conformance.evidence.said import said
from conformance.evidence.structure import divided, evidence_of, structure
from conformance.explaining.calls import Calls
from conformance.explaining.origin import Truth, gradient_origin, origin_of
from conformance.explaining.raised import failure_of
from conformance.faults.catalogue import Fault
from conformance.interruption import CellTimeout, DeviceLost, Interrupted, ProcessEnded, process_kept
from conformance.judging.canary import must_see
from conformance.judging.found import OneRun, TrainingStep
from conformance.judging.references import References
from conformance.judging.shared import Batch, Kept, SharedReferences
from conformance.models.fixtures import calibration_of, fixture, formats_folder
from conformance.models.formats import FORMATTED
from conformance.models.loading import Source, load, make_empty, torch_dtype, written
from conformance.rooms import doing
from conformance.state import kept
from matrix import oracle, shortage
from matrix.architectures import Architecture
from matrix.cell import Cell
from matrix.dialled import another_batch, dials_add_up, dials_judge, has_dials
from matrix.observation import (
    Comparison,
    Ending,
    Evidence,
    Failure,
    Observation,
    Origin,
    Phase,
    Price,
    QuantisationCost,
)
from matrix.stack import Device
from reports.printable import private_places

if TYPE_CHECKING:
    from conformance.dials.reading import Reader
    from conformance.ranks import Ranks

T = TypeVar("T")

_TRUTHS_KEPT = 4  # cells that differ in their backend alone come one after the other


class Bench:
    """Runs cells on one device, keeping fixtures and references warm between them."""

    def __init__(
        self,
        *,
        device: Device,
        architectures: Mapping[str, Architecture],
        fixture_cache: Path,
        checkpoints: Mapping[str, str] | None = None,
        trust_remote_code: bool = False,
        on_phase: Callable[[Cell, Phase], None] = lambda cell, phase: None,
        on_found: Callable[[Any, References], None] = lambda found, references: None,
        fault: Fault | None = None,
        seed: int = 0,
        dials: bool = True,
        explains: bool = True,
        rank: int | None = None,
        is_judged: Callable[[Any], bool] = lambda found: True,
    ) -> None:
        spellings.quieten()
        self.device = torch.device(f"cuda:{rank or 0}" if device is Device.CUDA else "cpu")
        if device is Device.CUDA:
            torch.empty(1, device=self.device)  # the context is of no cell's making
        self._rank = rank  # among the processes that hold a model together, if this is one of them
        self._is_judged = is_judged  # whether what was found is held against golden here
        self._ranks: Ranks | None = None
        self._asked_of_ranks = {
            "device": device,
            "architectures": architectures,
            "fixture_cache": fixture_cache,
            "checkpoints": checkpoints,
            "trust_remote_code": trust_remote_code,
            "seed": seed,
            "dials": dials,
        }
        self._architectures = architectures
        self._fixture_cache = fixture_cache
        self._checkpoints = checkpoints or {}
        self._trust_remote_code = trust_remote_code
        self._on_phase = on_phase
        self._on_found = on_found
        self.fault = fault  # what is seeded into each cell; may be exchanged between cells
        self._seed = seed
        self._dials = dials  # whether they are read
        self._explains = explains  # whether they are of what is out of bounds anyway, which takes the longest
        self._reader: Reader | None = None  # with the directions of dials that are kept
        self._places = private_places(fixture_cache)
        self._kept = Kept()
        self._sources: dict[str, Source] = {}
        self._wrong_scale: dict[str, float | None] = {}  # as the calibrations of fixtures say
        self._truths: OrderedDict[tuple[object, ...], Truth] = OrderedDict()  # module by module, of the last failures

    def run(self, cell: Cell, loaded: torch.nn.Module | None = None) -> Observation:
        """Load the cell's model, run its workload, compare, and say what happened. Raises nothing of the libraries'.

        `loaded` is a model of that cell which the caller has loaded in a way of its own.
        """
        if cell.device_map.processes > 1 and self._rank is None:
            return self._among_ranks(cell)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        course = _WatchedCourse(cell, self)
        ending, failure, comparisons, cost = Ending.COMPLETED, None, (), None
        graphs, breaks, began = _graphs(), spellings.graph_breaks(), time.time()
        with kept() as leaks, said() as warned, process_kept():
            try:
                found = course.run(loaded)
                if self._is_judged(found):
                    comparisons, cost = self._compared(course, found, once=loaded is not None)
            except CellTimeout as error:
                ending, failure = Ending.TIMEOUT, self._failure(course, error, warned)
            except ProcessEnded as error:
                ending, failure = Ending.CRASHED, self._failure(course, error, warned)
            except Interrupted:
                raise
            except BaseException as error:  # whatever a library raises is a measurement: SystemExit, a Rust panic
                ending, failure = self._ending_of(error), self._failure(course, error, warned)
        peak = None
        if self.device.type == "cuda" and ending is not Ending.DEVICE_LOST:
            peak = torch.cuda.max_memory_allocated() / 2**20
        return Observation(
            ending=ending,
            failure=failure,
            comparisons=comparisons if ending is Ending.COMPLETED else (),
            quantisation_cost=cost,
            evidence=replace(
                evidence_of(course.watch, course.parts, warned, self._places),
                leaks=tuple(leaks),
                **_compiling(course, graphs, breaks, began),
            ),
            declared=course.declared or _declared_by_config(self._architectures[cell.architecture]),
            seconds={phase: round(spent, 4) for phase, spent in course.seconds.items()},
            peak_memory_mib=peak,
            wrong_scale=self._wrong_scale.get(cell.architecture),
        )

    def give_back(self) -> None:
        """Drop what is kept warm, processes among it, and hand torch's cache back to the device."""
        if self._ranks is not None:
            self._ranks.close()
        self._kept, self._reader = Kept(), None
        self._truths.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _among_ranks(self, cell: Cell) -> Observation:
        """The same by as many processes as the cell's placement is of, each with a bench of its own."""
        with contextlib.suppress(Exception):  # which each of them will meet, and tell
            # Here: of several processes that belong together transformers lets the first alone write.
            self.source(_WatchedCourse(cell, self))
        if self._ranks is None or self._ranks.size != cell.device_map.processes:
            from conformance.ranks import Ranks

            if self._ranks is not None:
                self._ranks.close()
            self._ranks = Ranks(cell.device_map.processes, self._asked_of_ranks, self._on_phase)
        return self._ranks.observe(cell, self.fault.name if self.fault is not None else "")

    def _compared(
        self, course: "_WatchedCourse", found: Any, once: bool
    ) -> tuple[tuple[Comparison, ...], QuantisationCost | None]:
        """What was found held against the truth; `once` where the model cannot be loaded again."""
        comparisons = course.compare(found)
        beyond = any(oracle.problems(comparison) for comparison in comparisons)
        architecture = self._architectures[course.cell.architecture]
        device, judge = Device(self.device.type), dials_judge(course.cell, architecture)
        off = any(oracle.logits_are_off(comparison) for comparison in comparisons)
        asked = self._dials and (self._explains if off else judge)
        if asked and has_dials(course.cell, architecture, device):
            surely = judge and not beyond and not once and dials_add_up(course.cell)
            with course.during(Phase.REFERENCE), contextlib.nullcontext() if judge else self._explaining():
                comparisons = tuple(self._with_dials(course, found, one, surely) for one in comparisons)
        self._on_found(found, course.references)
        if not any(oracle.problems(comparison) for comparison in comparisons):
            with course.during(Phase.REFERENCE):
                must_see(found, comparisons[0], course)
        if not course.does.quantised or not all(comparison.finite for comparison in comparisons):
            return comparisons, None
        with course.during(Phase.REFERENCE):
            return comparisons, found.cost(course.references)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """While entered, nothing is raised but what took the device with it.

        What only explains fails nothing, nor does it for the many ways in which classes call SDPA, nor by its time:
        what was asked of the cell is answered.
        """
        try:
            yield
        except Exception as error:
            if self._ending_of(error) is Ending.DEVICE_LOST:
                raise

    def _with_dials(self, course: "_WatchedCourse", found: OneRun, compared: Comparison, surely: bool) -> Comparison:
        """The comparison with what the dials read, where golden has any and the logits are such as golden's.

        `surely`: of as many batches as it takes, which are run for it.
        """
        if not compared.shape_matches or not compared.finite:
            return compared
        if self._reader is None:
            from conformance.dials.reading import Reader  # a process that reads no cell's dials never imports them

            self._reader = Reader()
        if not surely:
            return replace(compared, readings=self._reader(found, course.references))

        def again(number: int) -> OneRun:
            other = _WatchedCourse(course.cell, self, self._seed + another_batch(number))
            try:
                found_of_it: OneRun = other.run()
            except BaseException:
                course.phase = other.phase  # it is the candidate that raised, and not what judges it
                raise
            return found_of_it

        return replace(compared, readings=self._reader.surely(found, course.references, again))

    def origin(self, cell: Cell) -> Origin | None:
        """Where the wrong numbers of a cell begin that was found out of bounds; it runs once more for that.

        None where no place can be told, whatever the reason: an explanation is nothing that a cell fails by.

        Raises:
            DeviceLost: it took the CUDA context with it.
        """
        if cell.device_map.processes > 1:  # each holds parts, of which nobody knows the truth
            return None
        return self._aside(lambda: self._origin(cell))

    def price(self, cell: Cell) -> Price | None:
        """What a cell that was found right takes beside its twin (`matrix/twin.py`): both run again for it, unwatched.

        None where that cannot be told, as where memory holds one of them alone: it is nothing that a cell fails by.

        Raises:
            DeviceLost: it took the CUDA context with it.
        """
        from conformance.pricing import price  # a run that asks for no costs never imports it

        return self._aside(lambda: price(cell, self.source(_WatchedCourse(cell, self)), self.device, self._seed))

    def _aside(self, ask: Callable[[], T]) -> T | None:
        """What is asked of a cell that has been judged, or None."""
        try:
            with kept(), said(), process_kept():
                return ask()
        except Interrupted:
            raise
        except BaseException as error:
            if self._ending_of(error) is Ending.DEVICE_LOST:
                raise DeviceLost("lost while a cell was asked once more") from error
            return None

    def _origin(self, cell: Cell) -> Origin | None:
        course, found = self.recorded(cell, Calls())

        def truth_of(batch: Batch, told_positions: bool) -> Truth:
            key = (*course.references.key(batch, golden=True), told_positions)
            if key not in self._truths:
                self._truths[key] = Truth(
                    course.references,
                    batch,
                    told_positions=told_positions,
                    dtype=cell.dtype,
                    quantised=course.does.quantised,
                )
                while len(self._truths) > _TRUTHS_KEPT:
                    self._truths.popitem(last=False)
            return self._truths[key]

        with torch.no_grad():
            origin = origin_of(course.calls, found, truth_of, course.heads)
        if origin is not None or not isinstance(found, TrainingStep):
            return origin
        course, found = self.recorded(cell, Calls(gradients=True))
        return gradient_origin(course.calls, found, course.references, dtype=cell.dtype)

    def recorded(self, cell: Cell, calls: Calls) -> tuple["RecordedCourse", Any]:
        """Run the cell with its modules recorded; the course, and what the workload found."""
        course = RecordedCourse(cell, self, calls)
        return course, course.run()

    def source(self, course: "_WatchedCourse") -> Source:
        """The checkpoint of a cell's architecture: the user's, or the fixture."""
        name = course.cell.architecture
        if name not in self._sources:
            architecture, own = self._architectures[name], self._checkpoints.get(name)
            if own is None:
                with course.during(Phase.BUILD):
                    checkpoint = str(fixture(architecture, self._fixture_cache, self._seed))
                    measured = calibration_of(checkpoint)
                    self._wrong_scale[name] = measured["wrong_scale"] if measured["attention_entropy"] else None
            self._sources[name] = Source(
                architecture,
                own or checkpoint,
                self._trust_remote_code,
                own=own is not None,
                formats=str(formats_folder(self._fixture_cache)),
            )
        return self._sources[name]

    def _failure(self, course: "_WatchedCourse", error: BaseException, warned: Iterable[str]) -> Failure:
        return failure_of(error, Phase(course.phase), warned, self._places)

    def _ending_of(self, error: BaseException) -> Ending:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return Ending.OUT_OF_MEMORY
        if isinstance(error, RuntimeError) and shortage.is_told_by(str(error)):
            return Ending.OUT_OF_MEMORY
        if self.device.type == "cuda":
            try:
                torch.cuda.synchronize()
            except Exception:  # any answer but a clean one means that the context is gone
                return Ending.DEVICE_LOST
        return Ending.RAISED


class _WatchedCourse(Course):
    """A course of which the bench keeps times and evidence, and into which it seeds its fault."""

    def __init__(self, cell: Cell, bench: Bench, seed: int | None = None) -> None:
        super().__init__(cell, None, doing(cell), bench.device, bench._seed if seed is None else seed)
        self.seconds: dict[str, float] = {}  # by phase
        self.parts = Evidence()
        self.declared: dict[str, bool] = {}
        self._bench = bench

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        self._bench._on_phase(self.cell, Phase(phase))
        started, compiled = time.perf_counter(), _seconds_compiling()
        with super().during(phase):
            yield
        compiling = max(0.0, _seconds_compiling() - compiled)  # who starts afresh may forget it
        self._spent(str(phase), time.perf_counter() - started - compiling)
        if compiling:
            self._spent("compile", compiling)

    def _spent(self, on: str, seconds: float) -> None:
        self.seconds[on] = self.seconds.get(on, 0.0) + seconds  # a relation may load or run twice

    def run(self, model: torch.nn.Module | None = None) -> Any:
        self.source = self._bench.source(self)
        self.references = SharedReferences(self.cell, self.source, self.device, self._bench._kept)
        fault = self._bench.fault
        if fault is not None and fault.spoilt is not None:
            model = self._loaded_spoilt(fault.spoilt)
        return super().run(model)

    def _loaded_spoilt(self, spoil: Callable[[Path, Cell], None]) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(written(self.cell, self.source, self.does) / FORMATTED, f"{folder}/spoilt"))
            spoil(copy, self.cell)
            with self.during("load"):
                return load(self.cell, self.source.at(copy), replace(self.does, written=False))

    def loaded(self, model: torch.nn.Module) -> None:
        self.declared = _declared(model)
        if self._bench.fault is not None:
            self._bench.fault.loaded(model, self.cell)

    def inspect(self, model: torch.nn.Module) -> None:
        self.parts = structure(model, torch_dtype(self.cell.dtype))
        if self.does.processes > 1:
            whole = make_empty(self.source, torch_dtype(self.cell.dtype))
            self.parts = replace(self.parts, **divided(model, whole, torch_dtype(self.cell.dtype)))

    @contextlib.contextmanager
    def watching(self, model: torch.nn.Module) -> Iterator[None]:
        fault = self._bench.fault
        with contextlib.nullcontext() if fault is None else fault.running(model), super().watching(model):
            yield


class RecordedCourse(_WatchedCourse):
    """The same once more, with what every module is given and gives."""

    def __init__(self, cell: Cell, bench: Bench, calls: Calls) -> None:
        super().__init__(cell, bench)
        self.calls = calls
        self.heads = 1

    def load(self, **arguments: Any) -> Any:
        """A model, whose modules are recorded too."""
        model = super().load(**arguments)
        self.calls.know(model)
        return model

    @contextlib.contextmanager
    def watching(self, model: Any) -> Iterator[None]:
        """While entered the modules' calls are recorded, beside what is watched anyway."""
        self.calls.know(model)
        self.heads = getattr(model.config.get_text_config(), "num_attention_heads", None) or 1
        with super().watching(model), self.calls.recording():
            yield


def _seconds_compiling() -> float:
    """What torch.compile has taken in this process so far, from a frame to code that runs."""
    return float(torch._dynamo.utils.calculate_time_spent()["total_wall_time"])


def _graphs() -> Counter[str]:
    """Graphs of torch.compile in this process so far: those it compiled, and those it had in its cache on the disk."""
    told = torch._dynamo.utils.counters["inductor"]
    compiled = told["fxgraph_cache_miss"] + told["fxgraph_cache_bypass"]
    return Counter(compiled=compiled, cached=told["fxgraph_cache_hit"])


def _compiling(course: Course, graphs: Counter[str], breaks: Counter[str], began: float) -> dict[str, Any]:
    """What torch.compile did in a run, as evidence; of what attention compiles by itself only how much."""
    told = _graphs() - graphs + Counter(replays=course.watch.replays)
    if course.watch.compiled is None:
        return {"graphs": dict(told)}
    return {
        "graphs": dict(told) | course.watch.compiled.counts(),
        "graph_breaks": dict(spellings.graph_breaks() - breaks),
        "recompiled": spellings.recompiled_since(began),
    }


def _declared(model: torch.nn.Module) -> dict[str, bool]:
    return {
        flag: bool(getattr(model, flag)) for flag in spellings.DECLARED_FLAGS if getattr(model, flag, None) is not None
    }


def _declared_by_config(architecture: Architecture) -> dict[str, bool]:
    """The flags of the class that would have been loaded, for cells whose load was refused.

    Empty for a model_type or auto class that this transformers does not know.
    """
    try:
        config = transformers.AutoConfig.for_model(architecture.model_type)
        found = getattr(transformers, architecture.auto_class)._model_mapping[type(config)]
    except (AttributeError, KeyError, ValueError):
        return {}
    return _declared(found[0] if isinstance(found, tuple) else found)
