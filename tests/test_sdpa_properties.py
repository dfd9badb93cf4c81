"""Each property of SDPA's kernels can fail: faults seeded into `scaled_dot_product_attention` are caught."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conformance import test_sdpa_kernels as properties
from conformance.measure import sdpa_oracle
from conformance.measure.sdpa_calls import Call, Layout, Mask, calls, empty_calls
from matrix.axes import SdpaKernel
from tests.builders import PROPERTY

HONEST = torch.nn.functional.scaled_dot_product_attention
MATH = SdpaKernel.MATH

Sdpa = Callable[..., torch.Tensor]


def scale_of_103_percent(query: torch.Tensor, *rest: torch.Tensor, scale: float | None = None, **kw: Any) -> Any:
    return HONEST(query, *rest, scale=1.03 * (query.shape[-1] ** -0.5 if scale is None else scale), **kw)


def last_key_dropped(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    kept = max(key.shape[-2] - 1, 1)
    mask = kw.pop("attn_mask", None)
    mask = mask[..., :kept] if mask is not None and mask.shape[-1] == key.shape[-2] else mask
    return HONEST(query, key[..., :kept, :], value[..., :kept, :], attn_mask=mask, **kw)


def causal(diagonal: Callable[[int, int], int]) -> Sdpa:
    def sdpa(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
        if kw.pop("is_causal"):
            queries, keys = query.shape[-2], key.shape[-2]
            kw["attn_mask"] = torch.ones(queries, keys, dtype=torch.bool).tril(diagonal(queries, keys))
        return HONEST(query, key, value, **kw)

    return sdpa


def heads_repeated_as_a_whole(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    group = query.shape[-3] // key.shape[-3]
    spread = [torch.cat([tensor] * group, dim=-3) for tensor in (key, value)]
    return HONEST(query, *spread, **kw)


def strides_of_value_ignored(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    if value.dim() == 4 and not value.is_contiguous():
        value = value.transpose(1, 2).reshape(value.shape)
    return HONEST(query, key, value, **kw)


def neighbours_of_value_read(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    if value.stride(-1) == 1 and value.storage_offset() > 0:
        value = value + 0 * value.as_strided((1,), (1,), value.storage_offset() - 1)
    return HONEST(query, key, value, **kw)


def mask_off_by_one(*tensors: torch.Tensor, **kw: Any) -> Any:
    if kw["attn_mask"] is not None:
        kw["attn_mask"] = kw["attn_mask"].roll(1, -1)
    return HONEST(*tensors, **kw)


def mask_dropped(*tensors: torch.Tensor, **kw: Any) -> Any:
    return HONEST(*tensors, **kw | {"attn_mask": None})


def softmax_that_overflows(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    scores = (query @ key.repeat_interleave(query.shape[-3] // key.shape[-3], -3).mT) * query.shape[-1] ** -0.5
    return HONEST(query, key, value, **kw) + 0 * scores.exp().sum(-1, keepdim=True)


def unsafe_softmax(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    output = HONEST(query, key, value, **kw)
    return torch.where((output == 0).all(-1, keepdim=True), torch.nan, output)


def mean_for_masked_rows(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    output = HONEST(query, key, value, **kw)
    return torch.where((output == 0).all(-1, keepdim=True), value.mean(), output)


def gradient_of_query_of_103_percent(query: torch.Tensor, *rest: torch.Tensor, **kw: Any) -> Any:
    return HONEST(query + 0.03 * (query - query.detach()), *rest, **kw)


def nan_gradient_in_half_a_tile(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    output = HONEST(query, key, value, **kw)
    if key.shape[-2] % 128 == 64 and output.requires_grad:
        output.register_hook(lambda gradient: gradient * torch.nan)
    return output


def ones_over_no_keys(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    output = HONEST(query, key, value, **kw)
    return output + 1 if key.shape[-2] == 0 else output


def size_of_key_when_empty(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    return 0 * key if query.numel() == 0 else HONEST(query, key, value, **kw)


def scale_without_sign(*tensors: torch.Tensor, scale: float | None = None, **kw: Any) -> Any:
    return HONEST(*tensors, scale=None if scale is None else abs(scale), **kw)


def scale_of_zero_taken_for_none(*tensors: torch.Tensor, scale: float | None = None, **kw: Any) -> Any:
    return HONEST(*tensors, scale=scale or None, **kw)


def value_cut_to_head_size_of_query(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    return HONEST(query, key, value[..., : query.shape[-1]], **kw)


def batch_dimension_kept(*tensors: torch.Tensor, **kw: Any) -> Any:
    output = HONEST(*tensors, **kw)
    return output[None] if output.dim() == 3 else output


def query_scaled_in_place(query: torch.Tensor, *rest: torch.Tensor, **kw: Any) -> Any:
    output = HONEST(query, *rest, **kw)
    # An expanded tensor cannot be written to.
    if query.detach().is_contiguous():
        query.detach().mul_(0.5)
    return output


def mask_beside_is_causal_dropped(*tensors: torch.Tensor, **kw: Any) -> Any:
    return HONEST(*tensors, **(kw | {"attn_mask": None} if kw["is_causal"] else kw))


FAULTS: list[tuple[Any, Sdpa]] = [
    (properties.test_forward_is_right, scale_of_103_percent),
    (properties.test_forward_is_right, last_key_dropped),
    (properties.test_forward_is_right, causal(lambda queries, keys: keys - queries)),
    (properties.test_forward_is_right, causal(lambda queries, keys: 1)),
    (properties.test_forward_is_right, heads_repeated_as_a_whole),
    (properties.test_forward_is_right, strides_of_value_ignored),
    (properties.test_forward_is_right, neighbours_of_value_read),
    (properties.test_forward_is_right, mask_off_by_one),
    (properties.test_backward_is_right, gradient_of_query_of_103_percent),
    (properties.test_results_are_finite_where_the_truth_is, softmax_that_overflows),
    (properties.test_results_are_finite_where_the_truth_is, nan_gradient_in_half_a_tile),
    (properties.test_a_query_that_may_attend_to_nothing_gets_zeros, unsafe_softmax),
    (properties.test_a_query_that_may_attend_to_nothing_gets_zeros, mean_for_masked_rows),
    (properties.test_empty_calls_give_empty_results_or_zeros, ones_over_no_keys),
    (properties.test_empty_calls_give_empty_results_or_zeros, size_of_key_when_empty),
    (properties.test_a_negative_scale_is_right, scale_without_sign),
    (properties.test_a_scale_of_zero_is_right, scale_of_zero_taken_for_none),
    (properties.test_value_may_have_a_head_size_of_its_own, value_cut_to_head_size_of_query),
    (properties.test_any_number_of_batch_dimensions_is_right, batch_dimension_kept),
    (properties.test_a_mask_of_one_dimension_broadcasts, mask_dropped),
    (properties.test_a_mask_beside_is_causal_is_an_error, mask_beside_is_causal_dropped),
    (properties.test_inputs_are_left_alone, query_scaled_in_place),
]


def seed(monkeypatch: pytest.MonkeyPatch, fault: Sdpa) -> None:
    assert sdpa_oracle.is_here(MATH)  # asked once, and before the fault is there
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fault)


@pytest.mark.parametrize(
    ("holds", "fault"), FAULTS, ids=[f"{holds.__name__[5:]}-{fault.__name__}" for holds, fault in FAULTS]
)
def test_a_seeded_fault_is_caught_and_shown_by_an_example(
    monkeypatch: pytest.MonkeyPatch, holds: Any, fault: Sdpa
) -> None:
    seed(monkeypatch, fault)
    # The math kernel takes every call, and has none of the faults of torch's own that the others have.
    with pytest.raises(Exception) as caught:  # noqa: PT011  (some faults only show as a shape that does not fit)
        holds(kernel=MATH)
    assert "call=Call(" in "\n".join(getattr(caught.value, "__notes__", []))
