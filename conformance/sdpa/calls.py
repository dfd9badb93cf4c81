"""Calls of `scaled_dot_product_attention` as plain data, and hypothesis strategies for them. Needs no torch."""

import math
from dataclasses import dataclass, fields
from enum import Enum, StrEnum
from typing import Any

from hypothesis import strategies as st


class Layout(StrEnum):
    """How a tensor lies in memory. What surrounds a slice is NaN, so that reading past its edge shows."""

    CONTIGUOUS = "contiguous"
    TRANSPOSED = "transposed"  # (batch, length, heads, head_dim), seen as (batch, heads, length, head_dim)
    PACKED = "packed"  # the middle one of three in a fused projection
    SLICED = "sliced"  # cut out of a larger tensor, off any alignment
    STRIDED_LAST = "strided_last"  # neighbours in the last dimension are not neighbours in memory
    EXPANDED_BATCH = "expanded_batch"  # stride 0: one batch element stands for all
    EXPANDED_HEADS = "expanded_heads"
    EXPANDED_LENGTH = "expanded_length"
    EXPANDED = "expanded"  # masks: broadcast by hand to every batch element, head and query


class Mask(StrEnum):
    """What `attn_mask` holds."""

    NONE = "none"
    BOOL = "bool"
    FLOAT = "float"  # a bias, as of ALiBi
    FLOAT_INF = "float_inf"  # a bias, and -inf where attention is forbidden
    FLOAT_MIN = "float_min"  # a bias, and the dtype's lowest number there, as transformers writes it


@dataclass(frozen=True, repr=False)
class Call:
    """One call; its tensors follow from the seed. The repr leaves out what has its default."""

    batch: int = 1
    heads: int = 1
    kv_heads: int = 1
    queries: int = 1
    keys: int = 1
    head_dim: int = 8
    value_dim: int | None = None  # head_dim, unless given
    dimensions: int = 4  # of query, key and value; 3 has no batch, 5 has a second one of length 1
    dtype: str = "float32"
    is_causal: bool = False
    mask: Mask = Mask.NONE
    mask_shape: str = "LS"  # a letter of B, H, L, S for a dimension of full length, 1 for one that broadcasts
    masked_rows: bool = False  # some queries may attend to nothing
    scale: float | None = None
    spread: float = 1.0  # standard deviation of the scaled scores
    shift: float = 0.0  # added to every scaled score, by way of query and key
    query_layout: Layout = Layout.CONTIGUOUS
    key_layout: Layout = Layout.CONTIGUOUS
    value_layout: Layout = Layout.CONTIGUOUS
    mask_layout: Layout = Layout.CONTIGUOUS
    gradient_layout: Layout = Layout.CONTIGUOUS  # of the gradient that the output receives
    seed: int = 0

    @property
    def value_size(self) -> int:
        """The last dimension of value and output."""
        return self.head_dim if self.value_dim is None else self.value_dim

    @property
    def scale_factor(self) -> float:
        """What the scores are multiplied with."""
        return 1 / math.sqrt(self.head_dim) if self.scale is None else self.scale

    def __repr__(self) -> str:
        changed = [(field.name, getattr(self, field.name)) for field in fields(self)]
        shown = (
            f"{name}={f'{type(value).__name__}.{value.name}' if isinstance(value, Enum) else repr(value)}"
            for (name, value), field in zip(changed, fields(self), strict=True)
            if value != field.default
        )
        return f"Call({', '.join(shown)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For hypothesis, which would list every field."""
        printer.text(repr(self))


# The simplest come first: hypothesis shrinks towards them.
DTYPES = ("float32", "float16", "bfloat16", "float64")
# Either side of the tiles that kernels cut sequences into (32, 64, 128, 256) ...
SHORT = (1, 2, 3, 7, 16, 31, 32, 33, 63, 64, 65)
LONG = (96, 127, 128, 129, 192, 255, 256, 257, 320, 511, 513, 704)
# ... and of what they want of head sizes: multiples of 8, at most 128 or 256.
HEAD_DIMS = (8, 1, 7, 16, 32, 40, 64, 72, 80, 96, 128, 136, 160, 192, 256, 257, 264, 512)
TENSOR_LAYOUTS = tuple(layout for layout in Layout if layout is not Layout.EXPANDED)
MASK_LAYOUTS = (Layout.CONTIGUOUS, Layout.SLICED, Layout.STRIDED_LAST, Layout.EXPANDED)
GRADIENT_LAYOUTS = (Layout.CONTIGUOUS, Layout.TRANSPOSED, Layout.SLICED, Layout.EXPANDED_LENGTH, Layout.EXPANDED_BATCH)
MASK_SHAPES = ("LS", "BHLS", "B1LS", "B11S", "1HLS", "11LS", "1S", "HLS")
MASKING = ("none", "causal", "mask")
MASKS = tuple(mask for mask in Mask if mask is not Mask.NONE)
SCALES = (None, 1.0, 0.1)
SPREADS = (1.0, 4.0, 16.0)
# At -120 a query's log-sum-exp lies below -ln(FLT_MAX), where pytorch#196678 began.
SHIFTS = (0.0, 0.0, -120.0)
# Numbers in the scores, the query or the key: what keeps an example at milliseconds.
_MOST_NUMBERS = 2**17

lengths = st.sampled_from(SHORT) | st.sampled_from(SHORT + LONG)


@st.composite
def calls(
    draw: st.DrawFn,
    *,
    masking: tuple[str, ...] = MASKING,
    masks: tuple[Mask, ...] = MASKS,
    mask_shapes: tuple[str, ...] = MASK_SHAPES,
    masked_rows: bool = False,
    scales: tuple[float | None, ...] = SCALES,
    spreads: tuple[float, ...] = SPREADS,
    shifts: tuple[float, ...] = SHIFTS,
    value_dims: tuple[int | None, ...] = (None,),
    dimensions: tuple[int, ...] = (4,),
    aligned: bool = True,
) -> Call:
    """Any documented call whose tensors are not empty; `aligned` leaves out what begins off any alignment."""
    heads, kv_heads = draw(st.sampled_from([(1, 1), (2, 2), (4, 2), (6, 2), (4, 1), (3, 3)]))
    rank = draw(st.sampled_from(dimensions))
    batch = 1 if rank == 3 else draw(st.sampled_from([1, 2, 3]))
    head_dim = draw(st.sampled_from(HEAD_DIMS))
    queries, keys = draw(
        st.tuples(lengths, lengths).filter(
            lambda pair: batch * heads * max(math.prod(pair), max(pair) * head_dim) <= _MOST_NUMBERS
        )
    )
    # No kernel takes a mask and is_causal at once, and some take no mask at all: a third of the calls for each.
    how = draw(st.sampled_from(masking))
    masked = how == "mask"
    shape = draw(st.sampled_from([shape for shape in mask_shapes if len(shape) <= rank])) if masked else "LS"
    return Call(
        batch=batch,
        heads=heads,
        kv_heads=kv_heads,
        queries=queries,
        keys=keys,
        head_dim=head_dim,
        value_dim=draw(st.sampled_from(value_dims)),
        dimensions=rank,
        dtype=draw(st.sampled_from(DTYPES)),
        is_causal=how == "causal",
        mask=draw(st.sampled_from(masks)) if masked else Mask.NONE,
        mask_shape=shape,
        masked_rows=masked_rows and masked,
        scale=draw(st.sampled_from(scales)),
        spread=draw(st.sampled_from(spreads)),
        shift=draw(st.sampled_from(shifts)),
        query_layout=draw(_one_of(TENSOR_LAYOUTS, aligned)),
        key_layout=draw(_one_of(TENSOR_LAYOUTS, aligned)),
        value_layout=draw(_one_of(TENSOR_LAYOUTS, aligned)),
        mask_layout=draw(_one_of(MASK_LAYOUTS, aligned)) if masked and len(shape) > 1 else Layout.CONTIGUOUS,
        gradient_layout=draw(_one_of(GRADIENT_LAYOUTS, aligned)),
        seed=draw(st.integers(0, 2**16)),
    )


def _one_of(layouts: tuple[Layout, ...], aligned: bool) -> st.SearchStrategy[Layout]:
    return st.sampled_from([layout for layout in layouts if not aligned or layout is not Layout.SLICED])


@st.composite
def empty_calls(draw: st.DrawFn) -> Call:
    """A call in which something has length 0: no batch elements, no queries, no keys, or a combination."""
    sizes = st.sampled_from([0, 1, 3])
    batch, queries, keys = draw(st.tuples(sizes, sizes, sizes).filter(lambda chosen: 0 in chosen))
    heads, kv_heads = draw(st.sampled_from([(1, 1), (4, 2)]))
    how = draw(st.sampled_from(MASKING))
    return Call(
        batch=batch,
        queries=queries,
        keys=keys,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=draw(st.sampled_from(HEAD_DIMS)),
        dtype=draw(st.sampled_from(DTYPES)),
        is_causal=how == "causal",
        mask=draw(st.sampled_from([Mask.BOOL, Mask.FLOAT])) if how == "mask" else Mask.NONE,
        mask_shape="BHLS" if how == "mask" else "LS",
    )
