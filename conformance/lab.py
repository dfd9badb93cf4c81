"""What probes are made of: fixtures, loads, forward passes, and the oracle that holds them against eager attention."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
import transformers

from conformance import spellings
from conformance.bench import Bench
from conformance.decoding import banned_tokens, forced_by, regret
from conformance.evidence.said import said
from conformance.evidence.structure import evidence_of
from conformance.evidence.watch import Watch
from conformance.faults.catalogue import Fault
from conformance.judging.comparison import compare
from conformance.judging.precision import TrueFloat64, without_tf32
from conformance.models.batches import make_batch
from conformance.models.fixtures import fixture, formats_folder
from conformance.models.loading import Source, golden_dtype, torch_dtype
from conformance.models.outputs import forward
from conformance.models.probes import ARCHITECTURES
from matrix import oracle
from matrix.architectures import Architecture
from matrix.axes import Dtype, SdpaKernel
from matrix.cell import parse_cell
from matrix.expectation import SUPPORTED
from matrix.kernels import kernels_seen
from matrix.observation import Ending, Evidence, Failure
from matrix.stack import Device, Stack
from matrix.verdict import Verdict, judge

Batch = Mapping[str, torch.Tensor]

_ROOT = Path(__file__).parent.parent
_ISOLATED_SECONDS = 240


class Violated(Exception):
    """What was reported still happens. The message holds the values."""


class Raised(Exception):
    """A cell or a process of its own raised. The message names the type and holds the first or last line."""

    failure: Failure | None = None  # of a cell


def raised_by(error: Exception) -> tuple[str, str]:
    """The type and the message of what a library raised, also where a cell of the lab brought it."""
    if isinstance(error, Raised) and error.failure is not None:
        return error.failure.type, error.failure.message.strip()
    return type(error).__name__, str(error).strip()


class Lab:
    """Measures what a probe asks for, on one device.

    Args:
        stack: whose device is used.
        fixture_cache: the folder for fixtures.
        architectures: those of the matrix; the probes' own are added.
        flash_attention: what `flash_attention_2` is played by. Tests of the probes put `sdpa` here, which has the
            same interface and needs no GPU.
        fault: seeded into every candidate, to see whether a probe notices.
    """

    def __init__(
        self,
        stack: Stack,
        fixture_cache: Path,
        architectures: Mapping[str, Architecture],
        *,
        flash_attention: str = "flash_attention_2",
        fault: Fault | None = None,
    ) -> None:
        spellings.quieten()
        self.stack = stack
        self.flash_attention = flash_attention
        self.device = torch.device("cuda:0" if stack.device is Device.CUDA else "cpu")
        self._cache = fixture_cache
        self._architectures = {**architectures, **ARCHITECTURES}
        self._fault = fault
        self._sources: dict[str, Source] = {}
        self._asked: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()

    @cached_property
    def _bench(self) -> Bench:
        return Bench(
            device=self.stack.device,
            architectures=self._architectures,
            fixture_cache=self._cache,
            fault=self._fault,
        )

    @property
    def masked_kernels(self) -> tuple[SdpaKernel, ...]:
        """The SDPA kernels of this device that take an explicit mask in 16 bits."""
        if self.device.type == "cuda":
            return SdpaKernel.MEM_EFFICIENT, SdpaKernel.CUDNN, SdpaKernel.MATH
        return SdpaKernel.FLASH, SdpaKernel.MATH

    def cell(self, cell_id: str, loaded: Any = None) -> Evidence:
        """Run a cell of the matrix, or of an architecture of the probes' own; it must be `supported`.

        `loaded` is a model of that cell which the probe has loaded in a way of its own.

        Raises:
            Violated: another verdict.
            Raised: the cell raised.
        """
        cell = parse_cell(cell_id)
        observation = self._bench.run(cell, loaded)
        architecture = self._architectures[cell.architecture]
        judgement = judge(cell, architecture, observation, SUPPORTED, self.stack.device)
        if observation.ending is Ending.RAISED:
            error = Raised(f"{cell_id}: {judgement.reason}")
            error.failure = observation.failure
            raise error
        if judgement.verdict is not Verdict.SUPPORTED:
            raise Violated(f"{cell_id} is {judgement.verdict}: {judgement.reason}")
        return observation.evidence

    def source(self, name: str) -> Source:
        """An architecture and the folder of its checkpoint, which is looked at once."""
        if name not in self._sources:
            architecture = self._architectures[name]
            plain, formats = str(fixture(architecture, self._cache)), str(formats_folder(self._cache))
            self._sources[name] = Source(architecture, plain, formats=formats)
        return self._sources[name]

    def load(self, name: str, attention: str, dtype: Dtype = Dtype.FLOAT32, **arguments: Any) -> Any:
        """A candidate on the device, in eval mode. `arguments` go to from_pretrained."""
        given = {spellings.DTYPE_ARGUMENT: torch_dtype(dtype), "attn_implementation": attention}
        model = self.load_as(name, **given, **arguments)
        if self._fault is not None:
            self._fault.loaded(model, parse_cell(f"{name}-{dtype}-sdpa-prefill"))
        return model

    def load_as(self, name: str, **arguments: Any) -> Any:
        """A candidate on the device, in eval mode, loaded with exactly these arguments."""
        model = self._from_pretrained(name, **arguments)
        self._asked[model] = arguments.get("attn_implementation") or "eager"
        return model

    def logits(self, model: Any, batch: Batch, **arguments: Any) -> torch.Tensor:
        """A candidate's forward pass, without gradients.

        Raises:
            Violated: another implementation answered than the one that it was loaded with.
        """
        watch = Watch()
        with torch.no_grad(), said(), self.seeded(model), watch.calls(model):
            logits: torch.Tensor = forward(model, self._moved(batch), **arguments)
        asked = self._asked.get(model, "eager").removeprefix("paged|")
        seen = kernels_seen(evidence_of(watch))
        if asked != "eager" and ("eager" in seen or asked not in ("sdpa", *seen)):
            raise Violated(f"{asked} was asked for and {', '.join(seen)} ran")
        return logits

    def reference(self, name: str, dtype: Dtype, *, golden: bool, **arguments: Any) -> Any:
        """Eager attention with the same weights: in the dtype, or one precision up for golden."""
        attention = self._architectures[name].reference_attention
        given = {spellings.DTYPE_ARGUMENT: torch_dtype(dtype), "attn_implementation": attention}
        model = self._from_pretrained(name, **given, **arguments)
        return model.to(golden_dtype(dtype)) if golden else model

    def reference_logits(self, model: Any, batch: Batch, **arguments: Any) -> torch.Tensor:
        """A reference's forward pass: SDPA's math kernel where it calls SDPA, no TF32, and true float64."""
        exact = TrueFloat64() if model.dtype is torch.float64 else contextlib.nullcontext()
        with torch.no_grad(), without_tf32(), spellings.pinned(SdpaKernel.MATH), exact:
            logits: torch.Tensor = forward(model, self._moved(batch), **arguments)
        return logits

    def against_eager(
        self, name: str, attention: str, dtype: Dtype, batch: Batch, *, attended: torch.Tensor | None = None
    ) -> None:
        """Logits of a forward pass, held against eager attention at the attended positions.

        Raises:
            Violated: further from the truth than the oracle allows.
        """
        if attended is None:
            attended = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
        self.judge(
            f"{name} {attention} {dtype} logits",
            candidate=self.logits(self.load(name, attention, dtype), batch),
            baseline=self.reference_logits(self.reference(name, dtype, golden=False), batch),
            golden=self.reference_logits(self.reference(name, dtype, golden=True), batch),
            attended=attended,
            dtype=dtype,
        )

    def decode(
        self,
        name: str,
        model: Any,
        dtype: Dtype,
        batch: Batch,
        *,
        tokens: int,
        kernel: SdpaKernel = SdpaKernel.UNPINNED,
        **arguments: Any,
    ) -> None:
        """Greedy decoding with a cache; each step is held against one teacher-forced pass of eager attention.

        Raises:
            Violated: further from the truth than the oracle allows, in logits or in choices.
        """
        with torch.no_grad(), self.seeded(model), spellings.pinned(kernel):
            output = model.generate(
                **self._moved(batch),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
                output_logits=True,
                return_dict_in_generate=True,
                **arguments,
            )
        candidate = torch.stack(output.logits, dim=1)
        forced = forced_by(output.sequences, self._moved(batch), model)
        chosen, banned = output.sequences[:, -tokens:].flatten(), banned_tokens(model)
        references = [
            self.reference_logits(self.reference(name, dtype, golden=golden), forced)[:, -tokens:]
            for golden in (False, True)
        ]
        self.judge(
            f"{name} {model.config._attn_implementation} {dtype} decoded logits",
            candidate=candidate,
            baseline=references[0],
            golden=references[1],
            attended=torch.ones(candidate.shape[:2], dtype=torch.bool),
            dtype=dtype,
            generated=True,
            consequences={"regret": lambda truth: regret(truth, chosen, banned)},
        )

    def gradients(self, model: Any) -> torch.Tensor:
        """Those of a language modelling loss over a left-padded batch, as one tensor of shape (1, parameters, 1)."""
        batch = self._moved(make_batch("prefill", "left", model.config.vocab_size, 0))
        # The first token of a padded row is left out: it is predicted at a position that attends to nothing, where
        # each implementation has a number of its own.
        predicted = batch["attention_mask"].cummin(1).values | batch["attention_mask"].roll(1, 1)
        labels = batch["input_ids"].masked_fill((batch["attention_mask"] & predicted) == 0, -100)
        model.train()
        model(**batch, labels=labels).loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])[None, :, None]

    def judge(self, name: str, *, dtype: Dtype, **tensors: Any) -> None:
        """Hold candidate, baseline and golden, as `compare` takes them, against the oracle.

        Raises:
            Violated: in the oracle's words.
        """
        found = oracle.problems(compare(name, dtype=dtype, **tensors))
        if found:
            raise Violated("; ".join(found))

    def reach(self, model: Any, position: int, length: int, **inputs: Any) -> list[int]:
        """The positions whose logits change with the token at `position`, relative to it.

        Eight rows of `length` random tokens are tried, for a weight may be too small to show. All else is the same
        arithmetic on the same numbers, so that an unconcerned position keeps its logits but for a rounding unit.
        """
        tokens = random_tokens(8, length)
        changed = tokens.clone()
        changed[:, position] = (tokens[:, position] + 17) % 200 + 4
        first, second = (self.logits(model, {"input_ids": ids}, **inputs).float() for ids in (tokens, changed))
        tolerance = torch.finfo(model.dtype).eps * float(first.abs().max())
        differs = ~((first - second).abs().amax(-1) <= tolerance)  # NaN differs too
        return [int(index) - position for index in differs.any(0).nonzero()[:, 0]]

    def isolated(self, attempt: Callable[["Lab"], None]) -> None:
        """Run a function of a module in a process of its own: it may take the CUDA context with it.

        Raises:
            Violated: it was raised there, or the process died or hung.
            Raised: something else was raised there.
        """
        place = f"{attempt.__module__}:{attempt.__name__}"
        command = [sys.executable, "-m", "conformance.isolated", place, str(self._cache), self.flash_attention]
        try:
            answer = subprocess.run(
                command, cwd=_ROOT, capture_output=True, text=True, timeout=_ISOLATED_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise Violated(f"no answer after {_ISOLATED_SECONDS} s") from None
        said = (answer.stderr.strip() or "nothing was said").splitlines()[-1]
        if answer.returncode == 1:
            violated = said.startswith(f"{Violated.__module__}.{Violated.__name__}: ")
            raise Violated(said.partition(": ")[2]) if violated else Raised(said)
        if answer.returncode != 0:
            raise Violated(f"the process ended with {answer.returncode}: {said}")

    @contextlib.contextmanager
    def seeded(self, model: Any) -> Iterator[None]:
        """While entered, the seeded fault is at work in this model."""
        with contextlib.nullcontext() if self._fault is None else self._fault.running(model):
            yield

    def _from_pretrained(self, name: str, **arguments: Any) -> Any:
        auto_class = getattr(transformers, self._architectures[name].auto_class)
        with spellings.default_dtype_kept():
            model = auto_class.from_pretrained(self.source(name).checkpoint, use_safetensors=True, **arguments).eval()
        placed = "device_map" in arguments or all(p.device.type == self.device.type for p in model.parameters())
        return model if placed else model.to(self.device)

    def _moved(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {name: tensor.to(self.device) for name, tensor in batch.items()}


def random_tokens(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    """Token ids of shape (rows, length), none of them special."""
    return torch.randint(4, 256, (rows, length), generator=torch.Generator().manual_seed(seed))


def with_lora(model: Any) -> Any:
    """The model with a LoRA whose B is drawn too: with peft's B = 0 it would change nothing."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(2)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    return get_peft_model(model, lora).eval()
