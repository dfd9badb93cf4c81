"""Each property of SDPA's kernels can fail: faults seeded into `scaled_dot_product_attention` are caught."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings

from conformance import test_sdpa_kernels as properties
from conformance.sdpa import oracle as sdpa_oracle
from conformance.sdpa.calls import Call, Layout, Mask, calls, empty_calls
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


def causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, diagonal: int, **kw: Any) -> Any:
    if kw.pop("is_causal"):
        kw["attn_mask"] = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril(diagonal)
    return HONEST(query, key, value, **kw)


def causal_aligned_lower_right(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    # Where there are fewer keys than queries, keep it from masking whole rows: that would be another fault.
    return causal(query, key, value, max(key.shape[-2] - query.shape[-2], 0), **kw)


def causal_off_by_one(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kw: Any) -> Any:
    return causal(query, key, value, 1, **kw)


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


def scaled_after_the_future_is_hidden(*tensors: torch.Tensor, scale: float | None = None, **kw: Any) -> Any:
    hidden = kw["is_causal"] and scale is not None and scale <= 0
    return HONEST(*tensors, scale=scale, **kw) + (torch.nan if hidden else 0)


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
    (properties.test_forward_is_right, causal_aligned_lower_right),
    (properties.test_forward_is_right, causal_off_by_one),
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
    (properties.test_a_scale_of_zero_or_below_is_right, scale_without_sign),
    (properties.test_a_scale_of_zero_or_below_is_right, scale_of_zero_taken_for_none),
    (properties.test_causal_with_a_scale_of_zero_or_below_is_right, scaled_after_the_future_is_hidden),
    (properties.test_value_may_have_a_head_size_of_its_own, value_cut_to_head_size_of_query),
    (properties.test_any_number_of_batch_dimensions_is_right, batch_dimension_kept),
    (properties.test_a_mask_of_one_dimension_broadcasts, mask_dropped),
    (properties.test_a_mask_beside_is_causal_is_an_error, mask_beside_is_causal_dropped),
    (properties.test_inputs_are_left_alone, query_scaled_in_place),
]


# Enough examples for the rarest fault, a length in a class of its own; shrinking them is the business of hypothesis.
FAST = settings(
    PROPERTY,
    max_examples=200,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def seed(monkeypatch: pytest.MonkeyPatch, fault: Sdpa) -> None:
    for kernel in SdpaKernel:
        sdpa_oracle.is_here(kernel)  # asked once, and before the fault is there
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fault)


def speed_up(monkeypatch: pytest.MonkeyPatch, holds: Any) -> None:
    monkeypatch.setattr(holds, "_hypothesis_internal_use_settings", FAST)


@pytest.mark.parametrize(
    ("holds", "fault"), FAULTS, ids=[f"{holds.__name__[5:]}-{fault.__name__}" for holds, fault in FAULTS]
)
def test_a_seeded_fault_is_caught_and_shown_by_an_example(
    monkeypatch: pytest.MonkeyPatch, holds: Any, fault: Sdpa
) -> None:
    seed(monkeypatch, fault)
    speed_up(monkeypatch, holds)
    # The math kernel takes every call, and has none of the faults of torch's own that the others have.
    with pytest.raises(Exception) as caught:  # noqa: PT011  (some faults only show as a shape that does not fit)
        holds(kernel=MATH)
    assert "call=Call(" in "\n".join(caught.value.__notes__)


@pytest.mark.parametrize("holds", dict.fromkeys(holds for holds, _ in FAULTS), ids=lambda holds: holds.__name__[5:])
def test_without_a_fault_each_property_holds(monkeypatch: pytest.MonkeyPatch, holds: Any) -> None:
    # That it holds is what the suite itself measures; here it is to show that a fault above is what it fails on.
    monkeypatch.setattr(holds, "_hypothesis_internal_use_settings", settings(FAST, max_examples=5))
    holds(kernel=MATH)


def ten_percent_more(*tensors: torch.Tensor, **kw: Any) -> Any:
    return 1.1 * HONEST(*tensors, **kw)


@pytest.mark.parametrize(
    ("answer", "fault", "kernel", "said"),
    [
        pytest.param(False, HONEST, SdpaKernel.FLASH, "it runs, but can_use says False", id="says no, runs"),
        pytest.param(True, HONEST, SdpaKernel.MEM_EFFICIENT, "it refuses, but can_use says", id="says yes, refuses"),
        pytest.param(True, ten_percent_more, SdpaKernel.FLASH, "output max error", id="says yes, is wrong"),
    ],
)
def test_can_use_is_held_to_its_word(
    monkeypatch: pytest.MonkeyPatch, answer: bool, fault: Sdpa, kernel: SdpaKernel, said: str
) -> None:
    seed(monkeypatch, fault)
    monkeypatch.setattr(sdpa_oracle, "can_use", lambda *_: answer)
    monkeypatch.setattr(sdpa_oracle, "DEVICE", "cuda")  # inputs are still made where torch found itself
    monkeypatch.setattr(sdpa_oracle, "synchronize", lambda: None)
    speed_up(monkeypatch, properties.test_can_use_agrees_with_what_happens)
    with pytest.raises(AssertionError, match=said):
        properties.test_can_use_agrees_with_what_happens(kernel=kernel)


def something_else_raised(*tensors: torch.Tensor, **kw: Any) -> Any:
    raise RuntimeError("something else")


@pytest.mark.parametrize("fault", [ten_percent_more, something_else_raised])
def test_a_kernel_that_is_not_here_is_held_to_its_refusal(monkeypatch: pytest.MonkeyPatch, fault: Sdpa) -> None:
    seed(monkeypatch, fault)
    monkeypatch.setattr(sdpa_oracle, "is_here", lambda kernel: False)
    speed_up(monkeypatch, properties.test_a_kernel_that_is_not_here_refuses)
    with pytest.raises((AssertionError, RuntimeError)):
        properties.test_a_kernel_that_is_not_here_refuses(kernel=SdpaKernel.FLASH)


def test_a_kernel_that_must_take_every_call_may_not_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdpa_oracle, "run", lambda *_, **__: None)
    monkeypatch.setattr(sdpa_oracle, "is_here", lambda kernel: True)
    properties.assert_right(SdpaKernel.FLASH, Call())
    for kernel in (MATH, SdpaKernel.UNPINNED):
        with pytest.raises(AssertionError, match=f"{kernel} refused"):
            properties.assert_right(kernel, Call())


def test_shrinking_ends_at_the_call_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    seed(monkeypatch, heads_repeated_as_a_whole)
    holds = properties.test_forward_is_right
    monkeypatch.setattr(
        holds, "_hypothesis_internal_use_settings", settings(FAST, phases=[Phase.generate, Phase.shrink])
    )
    with pytest.raises(AssertionError) as caught:
        holds(kernel=MATH)
    assert "call=Call(heads=4, kv_heads=2)" in "\n".join(caught.value.__notes__)


@PROPERTY
@given(call=calls() | empty_calls())
def test_the_repr_of_a_call_rebuilds_it(call: Call) -> None:
    assert eval(repr(call), {"Call": Call, "Layout": Layout, "Mask": Mask}) == call


def test_the_repr_of_a_call_says_what_is_not_plain() -> None:
    assert repr(Call()) == "Call()"
    assert repr(Call(keys=33, mask=Mask.BOOL)) == "Call(keys=33, mask=Mask.BOOL)"


@settings(PROPERTY, max_examples=50)
@given(call=calls(scales=(None, -0.5), masks=(Mask.BOOL, Mask.FLOAT, Mask.FLOAT_INF)))
def test_the_reference_is_the_formula_that_torch_documents(call: Call) -> None:
    inputs = sdpa_oracle.make_inputs(call, "cpu").to(torch.float64)
    bias = torch.zeros(call.queries, call.keys, dtype=torch.float64)
    if call.is_causal:
        bias.masked_fill_(torch.ones(call.queries, call.keys, dtype=torch.bool).tril().logical_not(), -torch.inf)
    if inputs.mask is not None and inputs.mask.dtype is torch.bool:
        bias = bias.expand(torch.broadcast_shapes(bias.shape, inputs.mask.shape)).masked_fill(~inputs.mask, -torch.inf)
    elif inputs.mask is not None:
        bias = inputs.mask + bias
    key, value = (tensor.repeat_interleave(call.heads // call.kv_heads, -3) for tensor in (inputs.key, inputs.value))
    documented = torch.softmax(inputs.query @ key.transpose(-2, -1) * call.scale_factor + bias, dim=-1) @ value
    assert torch.allclose(sdpa_oracle.reference(call, inputs, gradients=False)["output"], documented, rtol=1e-9)


@pytest.mark.parametrize("layout", [layout for layout in Layout if layout is not Layout.EXPANDED])
def test_layouts_are_what_they_are_called(layout: Layout) -> None:
    call = Call(batch=2, heads=3, kv_heads=3, queries=4, keys=5, head_dim=6)
    plain = sdpa_oracle.make_inputs(call, "cpu").query
    query = sdpa_oracle.make_inputs(replace(call, query_layout=layout), "cpu").query
    assert query.shape == plain.shape
    expanded = {Layout.EXPANDED_BATCH: 0, Layout.EXPANDED_HEADS: 1, Layout.EXPANDED_LENGTH: 2}.get(layout)
    if expanded is None:
        assert torch.equal(query, plain)
        assert query.is_contiguous() == (layout is Layout.CONTIGUOUS)
        assert (query.stride(-1) == 1) == (layout is not Layout.STRIDED_LAST)
    else:
        assert query.stride(expanded) == 0
        assert torch.equal(query, plain.narrow(expanded, 0, 1).expand_as(plain))


def test_what_surrounds_a_slice_is_not_a_number() -> None:
    for layout in (Layout.SLICED, Layout.PACKED):
        query = sdpa_oracle.make_inputs(Call(query_layout=layout), "cpu").query
        before = query.as_strided((1,), (1,), query.storage_offset() - 1)
        assert before.isnan().all()


def test_a_row_is_fully_masked_only_where_it_is_asked_for() -> None:
    call = Call(batch=2, heads=2, kv_heads=2, queries=9, keys=3, mask=Mask.BOOL, mask_shape="BHLS")
    mask = sdpa_oracle.make_inputs(call, "cpu").mask
    assert mask is not None
    assert mask.any(-1).all()
    assert not mask.all()
    mask = sdpa_oracle.make_inputs(replace(call, masked_rows=True), "cpu").mask
    assert mask is not None
    assert not mask.any(-1).all()
    assert mask.any()


def test_scores_have_the_spread_and_the_shift_of_the_call() -> None:
    call = Call(heads=4, kv_heads=4, queries=128, keys=128, head_dim=64, scale=0.5, spread=4.0, shift=-120.0)
    inputs = sdpa_oracle.make_inputs(call, "cpu")
    scores = inputs.query @ inputs.key.mT * 0.5
    assert abs(scores.mean() + 120) < 0.5
    assert abs(scores.std() - 4) < 0.2
