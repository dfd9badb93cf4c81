"""`scaled_dot_product_attention` on one kernel, held against a float64 reference and eager attention."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from conformance import spellings
from conformance.interruption import LAST_WORDS, DeviceLost
from conformance.judging.precision import without_tf32
from conformance.sdpa.calls import Call, Layout, Mask
from matrix.axes import SdpaKernel
from matrix.oracle import UNQUANTISED, Bound

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

# The constant in the allowance for rounding; see `_allowances`.
UNITS = 4.0

_REFUSAL = re.compile(r"No available kernel\.\s+Aborting|No viable backend for scaled_dot_product_attention")
# Plain enough for every kernel that this device has.
_PLAIN = Call(batch=2, heads=2, kv_heads=2, queries=128, keys=128, head_dim=64, dtype="float16")
_CAN_USE = {
    SdpaKernel.FLASH: "can_use_flash_attention",
    SdpaKernel.MEM_EFFICIENT: "can_use_efficient_attention",
    SdpaKernel.CUDNN: "can_use_cudnn_attention",
}

# By name: output, and where asked for grad_query, grad_key, grad_value.
Results = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Inputs:
    """The tensors of a call, and the gradient that its output receives."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    gradient: torch.Tensor

    def to(self, dtype: torch.dtype) -> "Inputs":
        """The same numbers in another dtype; a bool mask stays one."""
        mask = self.mask if self.mask is None or self.mask.dtype is torch.bool else self.mask.to(dtype)
        return Inputs(self.query.to(dtype), self.key.to(dtype), self.value.to(dtype), mask, self.gradient.to(dtype))


def make_inputs(call: Call, device: str = DEVICE) -> Inputs:
    """The call's tensors: the same numbers on every device."""
    generator = torch.Generator().manual_seed(call.seed)
    dtype: torch.dtype = getattr(torch, call.dtype)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    query = normal(call.batch, call.heads, call.queries, call.head_dim)
    key = normal(call.batch, call.kv_heads, call.keys, call.head_dim)
    value = normal(call.batch, call.kv_heads, call.keys, call.value_size)
    gradient = normal(call.batch, call.heads, call.queries, call.value_size)
    if call.scale_factor:
        query *= call.spread / (abs(call.scale_factor) * call.head_dim**0.5)
        if call.shift:
            query[..., 0], key[..., 0] = 1.0, call.shift / call.scale_factor
    layouts = (call.query_layout, call.key_layout, call.value_layout, call.gradient_layout)
    query, key, value, gradient = (
        _in_dimensions(_laid_out(dense.to(dtype).to(device), layout), call.dimensions)
        for dense, layout in zip((query, key, value, gradient), layouts, strict=True)
    )
    return Inputs(query, key, value, _make_mask(call, generator, dtype, device), gradient)


def _in_dimensions(tensor: torch.Tensor, dimensions: int) -> torch.Tensor:
    return {3: tensor[0], 4: tensor, 5: tensor[None]}[dimensions] if dimensions != 4 else tensor


def _laid_out(dense: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The tensor in another layout; an expanded one keeps the first of what is repeated."""
    match layout:
        case Layout.TRANSPOSED:
            return dense.transpose(1, 2).contiguous().transpose(1, 2)
        case Layout.PACKED:
            slot = dense.transpose(1, 2)
            other = torch.full_like(slot, torch.nan)
            return torch.stack([other, slot, other], dim=2)[:, :, 1].transpose(1, 2)
        case Layout.SLICED:
            *leading, length, size = dense.shape
            # Nothing but NaN around it; a bool mask has no NaN, and forbids.
            filler = False if dense.dtype is torch.bool else torch.nan
            slice_ = dense.new_full((*leading, length + 3, size + 5), filler)[..., 1 : 1 + length, 3 : 3 + size]
            slice_.copy_(dense)
            return slice_
        case Layout.STRIDED_LAST:
            return dense.mT.contiguous().mT
        case Layout.EXPANDED_BATCH:
            return dense[:1].expand_as(dense)
        case Layout.EXPANDED_HEADS:
            return dense[:, :1].expand_as(dense)
        case Layout.EXPANDED_LENGTH:
            return dense[..., :1, :].expand_as(dense)
        case _:
            return dense


def _make_mask(call: Call, generator: torch.Generator, dtype: torch.dtype, device: str) -> torch.Tensor | None:
    if call.mask is Mask.NONE:
        return None
    sizes = {"B": call.batch, "H": call.heads, "L": call.queries, "S": call.keys, "1": 1}
    shape = [sizes[letter] for letter in call.mask_shape]
    allowed = torch.rand(shape, generator=generator) < 0.7
    if shape[-1]:
        allowed.scatter_(-1, torch.randint(shape[-1], (*shape[:-1], 1), generator=generator), True)
    if call.masked_rows and allowed.numel():
        rows = torch.rand(shape[:-1], generator=generator) < 0.5
        rows.view(-1)[-1], rows.view(-1)[0] = False, True
        allowed[rows] = False
    mask = allowed
    if call.mask is not Mask.BOOL:
        mask = (2 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)
        if call.mask is not Mask.FLOAT:
            lowest = -torch.inf if call.mask is Mask.FLOAT_INF else torch.finfo(dtype).min
            mask = mask.masked_fill(~allowed, lowest)
    if call.mask_layout is Layout.EXPANDED:
        return mask.to(device).expand(call.batch, call.heads, call.queries, call.keys)[
            -1 if call.dimensions == 3 else ...
        ]
    return _laid_out(mask.to(device), call.mask_layout)


def run(call: Call, kernel: SdpaKernel, inputs: Inputs, *, gradients: bool) -> Results | None:
    """What torch gives, with this kernel alone; None if the kernel refuses the call."""
    leaves = query, key, value = _leaves(inputs, gradients)
    try:
        with _device_kept(call, kernel):
            output = _attend(call, kernel, inputs, query, key, value)
            results = _with_gradients(output, leaves, inputs.gradient if gradients else None)
    except RuntimeError as error:
        if _REFUSAL.search(str(error)):
            return None
        raise
    return results


@contextmanager
def _device_kept(call: Call, kernel: SdpaKernel) -> Iterator[None]:
    """Raise DeviceLost, with the call, if the device is lost in the block; a call may end the process, too."""
    if DEVICE == "cuda":
        LAST_WORDS.say(f"{kernel}, {call!r}")
    try:
        yield
        synchronize()
    except RuntimeError as error:
        try:
            synchronize()
        except RuntimeError:
            raise DeviceLost(f"{kernel}, {call!r}: {str(error).strip().splitlines()[0]}") from None
        raise


def synchronize() -> None:
    """Wait for the device, so that what went wrong there is raised here."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _attend(
    call: Call,
    kernel: SdpaKernel,
    inputs: Inputs,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    # A kernel that refuses says why in a row of warnings.
    with warnings.catch_warnings(), spellings.pinned(kernel):
        warnings.simplefilter("ignore")
        return torch.nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=inputs.mask,
            is_causal=call.is_causal,
            scale=call.scale,
            enable_gqa=call.heads != call.kv_heads,
        )


def reference(call: Call, inputs: Inputs, *, gradients: bool) -> Results:
    """Attention written out, in the dtype of the inputs: golden in float64, baseline in the call's own dtype."""
    leaves = query, key, value = _leaves(inputs, gradients)
    with without_tf32():
        weights, _ = _weights(call, query, key, inputs.mask)
        output = weights @ _repeated(call, value)
        return _with_gradients(output, leaves, inputs.gradient if gradients else None)


def _weights(
    call: Call, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention weights, and which keys each query may attend to.

    As torch documents it, with softmax in float32 as eager attention has it; a query that may attend to nothing
    gets zeros, which is what torch gives since 2.5.
    """
    scores = (query @ _repeated(call, key).mT) * call.scale_factor
    if call.is_causal:
        # Aligned at the upper left, whatever the lengths.
        scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -torch.inf)
    elif mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else scores + mask
    attended = scores > -torch.inf
    some = attended.any(-1, keepdim=True)
    wide = torch.promote_types(scores.dtype, torch.float32)
    weights = torch.softmax(scores.masked_fill(~some, 0.0), -1, dtype=wide).masked_fill(~some, 0.0)
    return weights.to(query.dtype), attended


def _repeated(call: Call, tensor: torch.Tensor) -> torch.Tensor:
    """Grouped-query attention: each key head serves consecutive query heads."""
    return tensor.repeat_interleave(call.heads // call.kv_heads, dim=-3)


def _leaves(inputs: Inputs, gradients: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    query, key, value = (
        tensor.detach().requires_grad_(gradients) for tensor in (inputs.query, inputs.key, inputs.value)
    )
    return query, key, value


def _with_gradients(output: torch.Tensor, leaves: tuple[torch.Tensor, ...], gradient: torch.Tensor | None) -> Results:
    results = {"output": output.detach()}
    if gradient is not None:
        found = torch.autograd.grad(output, leaves, gradient)
        results |= zip(("grad_query", "grad_key", "grad_value"), found, strict=True)
    return results


def _allowances(call: Call, inputs: Inputs, *, gradients: bool) -> Results:
    """What honest rounding may cost each element: UNITS roundings of every term that is summed into it.

    The floor of `matrix.oracle` is made for logits, which are many and of the order of one. Gradients are of any
    order, and of a single element one cannot say that eager attention erred typically. So the floor comes from
    the running error analysis of sums of products (Higham, Accuracy and Stability of Numerical Algorithms, 3.1): the
    same formula over absolute values, times the unit roundoff. Terms are rounded once in the call's dtype (weights
    and score gradients are, before they enter a matrix product). Sums are accumulated in float32 at least, over
    head_dim for the scores, over queries or keys for the rest; their roundings grow with the root of their number.
    """
    unit = torch.finfo(getattr(torch, call.dtype)).eps
    sum_unit = min(unit, torch.finfo(torch.float32).eps)
    query, key, value = inputs.query.abs(), _repeated(call, inputs.key).abs(), _repeated(call, inputs.value).abs()
    scale = abs(call.scale_factor)
    weights, attended = _weights(call, inputs.query, inputs.key, inputs.mask)
    sizes = query @ key.mT * scale
    if inputs.mask is not None and inputs.mask.dtype is not torch.bool:
        sizes = sizes + inputs.mask.abs()
    # A key without weight does not count: transformers' lowest number is as good as -inf.
    sizes = sizes.masked_fill(~attended | (weights == 0), 0.0)
    largest = sizes.amax(-1, keepdim=True) if call.keys else sizes.new_zeros(1)
    sums = call.head_dim**0.5 * largest + max(call.queries, call.keys) ** 0.5
    weights = weights * (UNITS * (unit + sum_unit * sums))
    allowed = {"output": weights @ value}
    if gradients:
        exact, _ = _weights(call, inputs.query, inputs.key, inputs.mask)
        back = inputs.gradient.abs() @ value.mT
        through = scale * weights * (back + (exact * back).sum(-1, keepdim=True))
        allowed["grad_query"] = through @ key
        allowed["grad_key"] = _folded(call, through.mT @ query)
        allowed["grad_value"] = _folded(call, weights.mT @ inputs.gradient.abs())
    return allowed


def _folded(call: Call, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.unflatten(-3, (call.kv_heads, call.heads // call.kv_heads)).sum(-3)


def problems(call: Call, results: Results, inputs: Inputs) -> list[str]:
    """Where results are further from float64 than the suite's rule allows, in words with values."""
    gradients = len(results) > 1
    exact = inputs.to(torch.float64)
    golden = reference(call, exact, gradients=gradients)
    baseline = reference(call, inputs, gradients=gradients)
    with without_tf32():
        allowances = _allowances(call, exact, gradients=gradients)
    found = []
    for name, result in results.items():
        if result.shape != golden[name].shape or result.dtype is not inputs.query.dtype:
            found.append(f"{name} is {tuple(result.shape)} {result.dtype}, not {tuple(golden[name].shape)}")
        elif result.numel():
            error, eager = (result.double() - golden[name]).abs(), (baseline[name].double() - golden[name]).abs()
            found += [
                f"{bound.name} error {bound.value:.3g} exceeds {bound.allowed:.3g}"
                for bound in _bounds(name, error, eager, allowances[name])
                if not bound.holds
            ]
    return found


def _bounds(name: str, error: torch.Tensor, eager: torch.Tensor, allowance: torch.Tensor) -> tuple[Bound, Bound]:
    """The max and the mean rule of `matrix.oracle`, with a floor for roundings; what is not finite holds neither."""
    largest = UNQUANTISED.k_max * float(eager.max()) + float(allowance.max())
    mean = UNQUANTISED.k_mean * float(eager.mean()) + float(allowance.mean())
    return Bound(f"{name} max", float(error.max()), largest), Bound(f"{name} mean", float(error.mean()), mean)


def not_finite(call: Call, results: Results, inputs: Inputs) -> list[str]:
    """Results that are not finite where the truth fits into their dtype."""
    golden = reference(call, inputs.to(torch.float64), gradients=len(results) > 1)
    counts = {
        name: int((golden[name].to(result.dtype).isfinite() & ~result.isfinite()).sum())
        for name, result in results.items()
    }
    return [f"{name}: {count} of {results[name].numel()} are not finite" for name, count in counts.items() if count]


def changed(inputs: Inputs, before: Inputs) -> list[str]:
    """Which tensors no longer hold the same numbers."""
    pairs = {name: (tensor, getattr(before, name)) for name, tensor in vars(inputs).items() if tensor is not None}
    return [name for name, (after, first) in pairs.items() if not torch.equal(after, first)]


@cache
def is_here(kernel: SdpaKernel) -> bool:
    """Whether this device has the kernel at all: it takes the plainest of calls."""
    return run(_PLAIN, kernel, make_inputs(_PLAIN), gradients=False) is not None


def can_use(call: Call, kernel: SdpaKernel, inputs: Inputs) -> bool | None:
    """What `torch.backends.cuda.can_use_*` says of the call; None where this torch has no such question."""
    ask = getattr(torch.backends.cuda, _CAN_USE[kernel], None)
    if ask is None:
        return None
    gqa = call.heads != call.kv_heads
    parameters = torch.backends.cuda.SDPAParams(
        inputs.query, inputs.key, inputs.value, inputs.mask, 0.0, call.is_causal, gqa
    )
    # Pinned, because it answers for the kernels that are switched on.
    with spellings.pinned(kernel):
        return bool(ask(parameters))
