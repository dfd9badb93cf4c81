"""One cell in, one observation out."""

import contextlib
import inspect
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from conformance.faults.catalogue import Fault
from conformance.measure import relations, spellings
from conformance.measure.batches import LENGTHS, NEW_TOKENS, extended, make_batch
from conformance.measure.compare import compare, compare_runs, compare_steps, quantisation_cost
from conformance.measure.evidence import Watch
from conformance.measure.fixtures import fixture
from conformance.measure.interruption import CellTimeout
from conformance.measure.loading import Source, load, needs_moving, reload, torch_dtype
from conformance.measure.references import References
from conformance.measure.relations import judged, with_positions
from conformance.measure.training import train_step, without_dropout
from matrix.architectures import Architecture, Kind
from matrix.axes import Attention, DeviceMap, Quantisation, Transformation, Workload
from matrix.cell import Cell
from matrix.observation import Comparison, Ending, Evidence, Failure, Observation, Phase, QuantisationCost
from matrix.stack import Device
from reports.printable import printable, private_places

_DECODER_TOKENS = 40
_TEXTS = (
    "The north wind and the sun were disputing which was the stronger, when a traveler came along wrapped in a warm "
    "cloak. They agreed that the one who first succeeded in making the traveler take his cloak off should win.",
    "A fox one day spied a beautiful bunch of ripe grapes hanging from a vine trained along the branches of a tree.",
    "The cat sat by the door and waited.",
    "Once",
)


@dataclass
class _Progress:
    """How far a cell has come and what is known of it so far."""

    cell: Cell
    phase: Phase = Phase.LOAD
    seconds: dict[str, float] = field(default_factory=dict)  # by phase
    watch: Watch = field(default_factory=Watch)
    structure: Evidence = field(default_factory=Evidence)
    declared: dict[str, bool] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    cost: QuantisationCost | None = None


@dataclass(frozen=True)
class Logits:
    """What a prefill or generation is judged by, each of shape (batch, positions, vocabulary)."""

    candidate: torch.Tensor
    baseline: torch.Tensor
    golden: torch.Tensor
    attended: torch.Tensor  # bool, (batch, positions)
    chosen: torch.Tensor | None  # generation: the tokens chosen, (batch, positions)
    forced: Mapping[str, torch.Tensor]  # the batch that golden and baseline were given


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
        on_logits: Callable[[Logits], None] = lambda logits: None,
        fault: Fault | None = None,
        seed: int = 0,
    ) -> None:
        spellings.quieten()
        self.device = torch.device("cuda:0" if device is Device.CUDA else "cpu")
        self._architectures = architectures
        self._fixture_cache = fixture_cache
        self._checkpoints = checkpoints or {}
        self._trust_remote_code = trust_remote_code
        self._on_phase = on_phase
        self._on_logits = on_logits
        self.fault = fault  # what is seeded into each cell; may be exchanged between cells
        self._seed = seed
        self._places = private_places(fixture_cache)
        self._references = References(self.device)
        self._sources: dict[str, Source] = {}

    def run(self, cell: Cell, loaded: torch.nn.Module | None = None) -> Observation:
        """Load the cell's model, run its workload, compare, and say what happened. Raises nothing of the libraries'.

        `loaded` is a model of that cell which the caller has loaded in a way of its own.
        """
        progress = _Progress(cell)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        ending, failure = Ending.COMPLETED, None
        with progress.watch.said():
            try:
                self._measure(progress, loaded)
            except CellTimeout as error:
                ending, failure = Ending.TIMEOUT, self._failure(progress.phase, error)
            except Exception as error:  # whatever a library raises is a measurement
                ending, failure = self._ending_of(error), self._failure(progress.phase, error)
        peak = None
        if self.device.type == "cuda" and ending is not Ending.DEVICE_LOST:
            peak = torch.cuda.max_memory_allocated() / 2**20
        return Observation(
            ending=ending,
            failure=failure,
            comparisons=progress.comparisons if ending is Ending.COMPLETED else (),
            quantisation_cost=progress.cost,
            evidence=progress.watch.add_to(progress.structure, self._places),
            declared=progress.declared or _declared_by_config(self._architectures[cell.architecture]),
            seconds={phase: round(seconds, 4) for phase, seconds in progress.seconds.items()},
            peak_memory_mib=peak,
        )

    def _source(self, name: str) -> Source:
        """The architecture's checkpoint: the user's, or the fixture."""
        if name not in self._sources:
            architecture = self._architectures[name]
            checkpoint = self._checkpoints.get(name) or str(fixture(architecture, self._fixture_cache, self._seed))
            self._sources[name] = Source(architecture, checkpoint, self._trust_remote_code)
        return self._sources[name]

    @contextlib.contextmanager
    def _phase(self, phase: Phase, progress: _Progress) -> Iterator[None]:
        progress.phase = phase
        self._on_phase(progress.cell, phase)
        started = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize()  # an asynchronous fault belongs to the phase that caused it
        before = progress.seconds.get(phase.value, 0.0)  # a relation may load or run twice
        progress.seconds[phase.value] = before + time.perf_counter() - started

    def _measure(self, progress: _Progress, loaded: torch.nn.Module | None) -> None:
        cell = progress.cell
        source = self._source(cell.architecture)
        with self._phase(Phase.LOAD, progress):
            model = load(cell, source) if loaded is None else loaded
        progress.declared = _declared(model)
        if self.fault is not None:
            self.fault.loaded(model, cell)
        model = self._placed(progress, cell, model)
        if cell.transformation is Transformation.BETTER_TRANSFORMER:
            with self._phase(Phase.TRANSFORM, progress):
                model = spellings.to_bettertransformer(model)
        progress.structure = progress.watch.structure(model, torch_dtype(cell.dtype))
        batch = self._batch(cell, source, model.config)
        if cell.attention is Attention.FLEX_ATTENTION:
            spellings.forget_compiled()
        if cell.workload is Workload.TRAIN:
            progress.comparisons = self._trained(progress, model, batch, source)
            return
        with torch.no_grad():
            seeded = self.fault.running(model) if self.fault is not None else contextlib.nullcontext()
            with seeded, progress.watch.calls(model), spellings.pinned(cell.sdpa_kernel):
                if cell.workload.is_relation:
                    forced = with_positions(batch, model)
                    one, other, attended = self._two_runs(progress, model, forced, source)
                elif cell.workload is Workload.GENERATE:
                    with self._phase(Phase.GENERATE, progress):
                        forced, candidate, chosen = _generate(model, batch, source.architecture.kind)
                else:
                    with self._phase(Phase.FORWARD, progress):
                        forced, candidate, chosen = batch, model(**batch).logits, None
            banned = banned_tokens(model)
            del model  # a large checkpoint must be gone before its references come
            with self._phase(Phase.REFERENCE, progress):
                if cell.workload.is_relation:
                    comparison = compare_runs(
                        cell.workload.value,
                        one=one,
                        other=other,
                        baseline=self._references.baseline(cell, source, forced),
                        golden=self._references.golden(cell, source, forced),
                        attended=attended,
                        dtype=cell.dtype,
                        quantised=cell.quantisation is not Quantisation.NONE,
                    )
                else:
                    comparison, progress.cost = self._compare(cell, source, forced, candidate, chosen, banned)
        progress.comparisons = (comparison,)

    def _placed(self, progress: _Progress, cell: Cell, model: torch.nn.Module) -> torch.nn.Module:
        if not needs_moving(cell, model, self.device):
            return model
        with self._phase(Phase.PLACE, progress):
            return model.to(self.device)

    def _two_runs(
        self, progress: _Progress, model: Any, batch: Mapping[str, torch.Tensor], source: Source
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The logits of both, and where they must agree."""
        cell = progress.cell
        if cell.workload not in (Workload.RELOAD, Workload.PLACEMENT_INVARIANCE):
            relation = getattr(relations, cell.workload.value)
            needed = (spellings.make_static_cache,) if cell.workload is Workload.STATIC_CACHE else ()
            with self._phase(Phase.FORWARD, progress):
                found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = relation(model, batch, *needed)
            return found
        with self._phase(Phase.FORWARD, progress):
            one = model(**batch).logits
        if cell.workload is Workload.RELOAD:
            with tempfile.TemporaryDirectory() as folder:
                with self._phase(Phase.SAVE, progress):
                    model.save_pretrained(folder, safe_serialization=True)
                with self._phase(Phase.LOAD, progress):
                    twin = reload(cell, source, folder)
        else:
            cell = replace(cell, device_map=DeviceMap.NONE)
            with self._phase(Phase.LOAD, progress):
                twin = load(cell, source)
        twin = self._placed(progress, cell, twin)
        with self._phase(Phase.FORWARD, progress):
            return one, twin(**batch).logits, judged(batch)

    def _trained(
        self, progress: _Progress, model: Any, batch: Mapping[str, torch.Tensor], source: Source
    ) -> tuple[Comparison, ...]:
        """Logits in training mode, and gradients."""
        cell = progress.cell
        model = without_dropout(model)
        seeded = self.fault.running(model) if self.fault is not None else contextlib.nullcontext()
        with (
            seeded,
            progress.watch.calls(model),
            spellings.pinned(cell.sdpa_kernel),
            self._phase(Phase.FORWARD, progress),
        ):
            logits, gradients = train_step(model, batch)
        del model  # a large checkpoint must be gone before its references come
        with self._phase(Phase.REFERENCE, progress):
            eager, eager_gradients = self._references.train_step(cell, source, batch, golden=False)
            truth, true_gradients = self._references.train_step(cell, source, batch, golden=True)
            return compare_steps(
                candidate=(logits, gradients),
                baseline=(eager, eager_gradients),
                golden=(truth, true_gradients),
                attended=judged(batch),
                dtype=cell.dtype,
            )

    def _compare(
        self,
        cell: Cell,
        source: Source,
        forced: Mapping[str, torch.Tensor],
        candidate: torch.Tensor,
        chosen: torch.Tensor | None,
        banned: tuple[int, ...],
    ) -> tuple[Comparison, QuantisationCost | None]:
        # Generation is scored at the steps that it took, the last positions of the teacher-forced run.
        steps = candidate.shape[1] if chosen is not None else 0
        golden = self._references.golden(cell, source, forced)[:, -steps:]
        baseline = self._references.baseline(cell, source, forced)[:, -steps:]
        if steps or source.architecture.kind is Kind.ENCODER_DECODER:
            attended = torch.ones(candidate.shape[:2], dtype=torch.bool)
        else:
            attended = forced["attention_mask"].bool()
        self._on_logits(Logits(candidate, baseline, golden, attended, chosen, forced))
        comparison = compare(
            "logits" if chosen is None else "decoded logits",
            candidate=candidate,
            baseline=baseline,
            golden=golden,
            attended=attended,
            dtype=cell.dtype,
            quantised=cell.quantisation is not Quantisation.NONE,
            chosen=chosen,
            banned=banned,
        )
        if cell.quantisation is Quantisation.NONE or not comparison.finite:
            return comparison, None
        plain = Cell(cell.architecture, cell.dtype, Attention.EAGER)
        unquantised = self._references.golden(plain, source, forced)[:, -steps:]
        return comparison, quantisation_cost(candidate=candidate, unquantised=unquantised, attended=attended)

    def _batch(self, cell: Cell, source: Source, config: Any) -> dict[str, torch.Tensor]:
        decoder_tokens = _DECODER_TOKENS if source.architecture.kind is Kind.ENCODER_DECODER else 0
        if cell.workload is Workload.GENERATE:
            decoder_tokens = 0
        batch = None
        if cell.architecture in self._checkpoints:
            batch = _tokenised(cell, source)
        if batch is None:
            pad = getattr(config, "pad_token_id", None) or 0
            vocabulary = config.get_text_config().vocab_size
            workload = cell.workload if cell.workload is Workload.GENERATE else Workload.PREFILL
            batch = make_batch(workload.value, cell.padding.value, vocabulary, pad, decoder_tokens, self._seed + 1)
        elif decoder_tokens:
            batch["decoder_input_ids"] = batch["input_ids"][:, :decoder_tokens].contiguous()
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def _failure(self, phase: Phase, error: Exception) -> Failure:
        return Failure(phase, type(error).__name__, printable(str(error), self._places))

    def _ending_of(self, error: Exception) -> Ending:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return Ending.OUT_OF_MEMORY
        if self.device.type == "cuda":
            try:
                torch.cuda.synchronize()
            except Exception:  # any answer but a clean one means that the context is gone
                return Ending.DEVICE_LOST
        return Ending.RAISED


def _generate(
    model: Any, batch: Mapping[str, torch.Tensor], kind: Kind
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Greedy decoding with cache: the teacher-forcing batch, raw logits of each step, and the tokens chosen."""
    pad = getattr(model.generation_config, "pad_token_id", None)
    output = model.generate(
        **batch,
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        use_cache=True,
        pad_token_id=0 if pad is None else pad,
        output_logits=True,
        return_dict_in_generate=True,
    )
    logits = torch.stack(output.logits, dim=1)
    chosen = output.sequences[:, -NEW_TOKENS:]
    if kind is Kind.ENCODER_DECODER:
        return {**batch, "decoder_input_ids": output.sequences[:, :-1]}, logits, chosen
    takes_position_ids = "position_ids" in inspect.signature(model.forward).parameters
    return extended(batch, output.sequences, takes_position_ids), logits, chosen


def banned_tokens(model: Any) -> tuple[int, ...]:
    """The end-of-sequence tokens, which `min_new_tokens` keeps from being chosen."""
    end = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return () if end is None else tuple(end) if isinstance(end, list) else (end,)


def _tokenised(cell: Cell, source: Source) -> dict[str, torch.Tensor] | None:
    """Uneven texts through the checkpoint's own tokenizer, or None where it has none."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            source.checkpoint, trust_remote_code=source.trust_remote_code
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if cell.padding.value == "none":
        shortest = LENGTHS["generate" if cell.workload is Workload.GENERATE else "prefill"][-1]
        rows = [tokenizer(text * shortest)["input_ids"][:shortest] for text in _TEXTS]
        tokens = torch.tensor(rows)
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    tokenizer.padding_side = cell.padding.value
    encoded = tokenizer(list(_TEXTS), padding=True, return_tensors="pt")
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


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
