"""What a fault is, and the list of all of them."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from conformance.spellings import text_config
from matrix.architectures import Architecture, Kind
from matrix.axes import Attention, Dtype, Padding
from matrix.cell import Cell, make_cell
from matrix.errors import UsageError, quoted

Model = Any


@dataclass(frozen=True)
class Fault:
    """One seeded fault. It acts on the candidate alone; plan, oracle and report do not know that it is there."""

    name: str
    stands_for: str  # the real bug
    suits: Callable[[Architecture], bool]  # the architectures that have what it breaks
    workload: str = "prefill"  # where it shows
    quantisation: str = "none"  # what it needs
    attention: Attention = Attention.SDPA  # the implementation in which it sits
    padding: Padding = Padding.LEFT  # of the batch in which it shows
    device_map: str = "none"  # under which it shows
    loaded: Callable[[Model, Cell], None] = lambda model, cell: None  # done to the model once it is loaded
    running: Callable[[Model], AbstractContextManager[None]] = lambda model: contextlib.nullcontext()
    # Done to the folder of the candidate's checkpoint, where it is written in a format.
    spoilt: Callable[[Path, Cell], None] | None = None
    # Where eager attention does the same, bit for bit: there it is no fault, and nothing could tell it.
    eager_does_it_in: tuple[Dtype, ...] = ()

    def cell(self, architecture: Architecture, dtype: Dtype) -> Cell:
        """Where it is looked for: an uneven batch, padded on the left unless it says otherwise."""
        return make_cell(
            architecture.name,
            dtype=dtype,
            attention=self.attention,
            quantisation=self.quantisation,
            device_map=self.device_map,
            padding=self.padding,
            workload=self.workload,
        )


@dataclass(frozen=True)
class Attend:
    """One call of attention with everything explicit: heads repeated, mask additive, scale a number."""

    query: torch.Tensor  # (batch, heads, queries, head_dim)
    key: torch.Tensor  # (batch, heads, keys, head_dim)
    value: torch.Tensor
    bias: torch.Tensor  # (batch or 1, heads or 1, queries, keys), the dtype's minimum where masked
    scale: float
    groups: int  # query heads to a key/value head
    softcap: float | None = None  # of the scores, which SDPA has none of
    uncapped: float = 0.0  # share of the scores that the cap lets through as they are
    number: int = 0  # of the calls since SDPA is answered so

    def __call__(self, **changes: Any) -> torch.Tensor:
        """The right answer to the call, or to one that differs by `changes`."""
        parts = {**vars(self), **changes}
        if cap := parts["softcap"]:
            scores = parts["scale"] * parts["query"] @ parts["key"].transpose(-1, -2)
            capped = torch.lerp(cap * (scores / cap).tanh(), scores, parts["uncapped"])
            return (capped + parts["bias"]).softmax(-1) @ parts["value"]
        return _SDPA(parts["query"], parts["key"], parts["value"], parts["bias"], scale=parts["scale"])

    def of_rows(self, rows: slice) -> "Attend":
        """The part of the call that is of those rows."""
        bias = self.bias if len(self.bias) == 1 else self.bias[rows]
        return replace(self, query=self.query[rows], key=self.key[rows], value=self.value[rows], bias=bias)

    @property
    def masked(self) -> torch.Tensor:
        """Where attention must not look."""
        return self.bias <= torch.finfo(self.bias.dtype).min / 2

    def with_mask(self, masked: torch.Tensor) -> torch.Tensor:
        """The bias under another mask; what it adds besides masking (ALiBi, relative positions) stays."""
        kept = self.bias.masked_fill(self.masked, 0)
        return kept.masked_fill(masked, torch.finfo(self.bias.dtype).min)

    @property
    def past(self) -> torch.Tensor:
        """Whether a key is not in the query's future, of shape (queries, keys)."""
        queries, keys = self.query.shape[-2], self.key.shape[-2]
        return torch.ones(queries, keys, dtype=torch.bool, device=self.query.device).tril(keys - queries)

    @property
    def decodes(self) -> bool:
        """Whether this is one decoding step: transformers packs the heads of a group where queries would be."""
        return self.query.shape[-2] < min(8, self.key.shape[-2])

    @property
    def is_self_attention(self) -> bool:
        """Whether queries and keys are the same positions, as in prefill."""
        return self.query.shape[-2] == self.key.shape[-2]


FAULTS: dict[str, Fault] = {}
# Of the matrix those that call SDPA in every layer, where what is called instead is all there is.
THROUGH_SDPA = (
    "bert",
    "distilbert",
    "falcon",
    "gpt2",
    "gpt_neox",
    "llama",
    "mistral",
    "mixtral",
    "opt",
    "qwen3_moe",
    "roberta",
    "t5",
)
_SDPA = torch.nn.functional.scaled_dot_product_attention


def add(fault: Fault) -> None:
    """Put a fault on the list."""
    assert fault.name not in FAULTS, fault.name
    FAULTS[fault.name] = fault


def find(name: str) -> Fault:
    """The fault of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in FAULTS:
        raise UsageError(f"unknown fault {quoted(name)}; allowed are {', '.join(FAULTS)}")
    return FAULTS[name]


def attention_fault(
    name: str,
    stands_for: str,
    suits: Callable[[Architecture], bool] = lambda architecture: True,
    workload: str = "prefill",
    padding: Padding = Padding.LEFT,
    eager_does_it_in: tuple[Dtype, ...] = (),
) -> Callable[[Callable[[Attend], torch.Tensor]], Callable[[Attend], torch.Tensor]]:
    """Make a fault of a function that answers one call of attention wrongly."""

    def register(wrong: Callable[[Attend], torch.Tensor]) -> Callable[[Attend], torch.Tensor]:
        running = functools.partial(sdpa_answered_by, wrong)
        add(
            Fault(
                name,
                stands_for,
                suits,
                workload,
                padding=padding,
                running=running,
                eager_does_it_in=eager_does_it_in,
            )
        )
        return wrong

    return register


@contextlib.contextmanager
def sdpa_answered_by(
    wrong: Callable[[Attend], torch.Tensor], model: Model, softcap: float | None = None
) -> Iterator[None]:
    """While entered, `scaled_dot_product_attention` is this function, which is told of a soft cap that SDPA is not."""
    # From the config: where there is a mask, transformers repeats the heads before it calls.
    config = text_config(model.config)
    heads = config.num_attention_heads
    groups = heads // (getattr(config, "num_key_value_heads", None) or heads)
    functional = torch.nn.functional
    usual = functional.scaled_dot_product_attention
    numbers = itertools.count()

    @functools.wraps(usual)
    def answer(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        bias = _bias(query, key, attn_mask, is_causal)
        return wrong(Attend(query, key, value, bias, scale, groups, softcap, number=next(numbers)))

    functional.scaled_dot_product_attention = answer  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = usual


def _bias(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, is_causal: bool) -> torch.Tensor:
    smallest = torch.finfo(query.dtype).min
    bias = torch.zeros(1, 1, query.shape[-2], key.shape[-2], dtype=query.dtype, device=query.device)
    if is_causal:
        future = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).triu(1)
        return bias.masked_fill(future, smallest)
    if mask is None:
        return bias
    return bias.masked_fill(~mask, smallest) if mask.dtype == torch.bool else mask.clamp_min(smallest) + bias


def is_causal(architecture: Architecture) -> bool:
    """Whether it has causal attention at all."""
    return architecture.kind is not Kind.ENCODER


def is_decoder(architecture: Architecture) -> bool:
    """Whether it is a decoder alone."""
    return architecture.kind is Kind.DECODER


def named(*names: str) -> Callable[[Architecture], bool]:
    """Whether it is one of these."""
    return lambda architecture: architecture.name in names


def having(trait: str, *names: str) -> Callable[[Architecture], bool]:
    """Whether it has that trait, or is one of these, of whose traits nobody asks the library."""
    return lambda architecture: trait in architecture.traits or architecture.name in names
