"""`scaled_dot_product_attention` itself: properties that each kernel must have for every call that it accepts.

Hypothesis makes the calls and shrinks one that fails to a minimal example. `conformance.measure.sdpa_oracle` rebuilds
its tensors: `make_inputs(Call(...))`. By default the examples are few and always the same; for hours of new ones
use `--hypothesis-profile=long`.
"""

from dataclasses import replace

import pytest
from hypothesis import event, example, given

from conformance.measure.sdpa_calls import MASKS, Call, Layout, Mask, calls, empty_calls
from matrix.axes import SdpaKernel

EVERY_KERNEL = pytest.mark.parametrize("kernel", SdpaKernel)
FUSED_KERNELS = pytest.mark.parametrize("kernel", [SdpaKernel.FLASH, SdpaKernel.MEM_EFFICIENT, SdpaKernel.CUDNN])

# pytorch#112577: memory-efficient attention in float32 with a mask, and strides of a transposed projection.
TRANSPOSED_AND_MASKED = Call(
    batch=2, heads=2, kv_heads=2, queries=33, keys=33, head_dim=32, mask=Mask.BOOL, mask_shape="B1LS",
    query_layout=Layout.TRANSPOSED, key_layout=Layout.TRANSPOSED, value_layout=Layout.TRANSPOSED,
)  # fmt: skip
# pytorch#191937: the same kernel with one key head expanded over all, and a key beyond a multiple of 32.
EXPANDED_KEYS = Call(
    heads=4, kv_heads=4, queries=33, keys=33, head_dim=64, dtype="bfloat16", mask=Mask.FLOAT_INF, mask_shape="11LS",
    key_layout=Layout.EXPANDED_HEADS, value_layout=Layout.EXPANDED_HEADS,
)  # fmt: skip
# pytorch#193893: cuDNN with few key heads, as in decoding.
DECODING = Call(heads=6, kv_heads=2, keys=320, head_dim=128, dtype="bfloat16", mask=Mask.BOOL, mask_shape="B11S")
# pytorch#196678: cuDNN's backward with a mask, half a tile of padding and every score near -120.
HALF_A_TILE = Call(
    queries=704, keys=704, head_dim=64, dtype="bfloat16", mask=Mask.BOOL, mask_shape="11LS", spread=0.1, shift=-120.0
)  # fmt: skip
# cudnn-frontend#1072: the same with a single query.
ONE_QUERY = Call(queries=1, keys=128, head_dim=128, dtype="bfloat16", shift=-120.0)


@EVERY_KERNEL
@given(call=calls())
@example(call=TRANSPOSED_AND_MASKED)
@example(call=EXPANDED_KEYS)
@example(call=DECODING)
def test_forward_is_right(kernel: SdpaKernel, call: Call) -> None:
    """The output is as close to float64 as eager attention's, whatever the shapes, strides, mask and scale."""
    assert wrong(kernel, call) == []


@EVERY_KERNEL
@given(call=calls())
@example(call=TRANSPOSED_AND_MASKED)
@example(call=EXPANDED_KEYS)
@example(call=ONE_QUERY)
def test_backward_is_right(kernel: SdpaKernel, call: Call) -> None:
    """The gradients of query, key and value are as close to float64 as eager attention's."""
    assert wrong(kernel, call, gradients=True) == []


@EVERY_KERNEL
@given(call=calls(spreads=(1.0, 100.0, 1000.0), shifts=(-120.0, 120.0, -1000.0), masked_rows=True))
@example(call=HALF_A_TILE)
@example(call=ONE_QUERY)
def test_results_are_finite_where_the_truth_is(kernel: SdpaKernel, call: Call) -> None:
    """Output and gradients are finite where float64's fit into the dtype, however large the scores."""
    from conformance.measure.sdpa_oracle import make_inputs, not_finite, run

    skip_unless_here(kernel)
    inputs = make_inputs(call)
    results = run(call, kernel, inputs, gradients=True)
    assert results is None or not_finite(call, results, inputs) == []


@EVERY_KERNEL
@given(call=calls(masks=(Mask.BOOL, Mask.FLOAT_INF), masked_rows=True))
def test_a_query_that_may_attend_to_nothing_gets_zeros(kernel: SdpaKernel, call: Call) -> None:
    """Fully masked rows give zeros, forward and backward, and leave the other rows right."""
    assert wrong(kernel, call, gradients=True) == []


@EVERY_KERNEL
@given(call=empty_calls())
def test_empty_calls_give_empty_results_or_zeros(kernel: SdpaKernel, call: Call) -> None:
    """Without batch elements, queries or keys the output is empty or zero, and so are the gradients."""
    # Over no keys the documented formula sums nothing, which is zero.
    assert wrong(kernel, call, gradients=True) == []


@EVERY_KERNEL
@given(call=calls(scales=(-0.5, -1.0)))
def test_a_negative_scale_is_right(kernel: SdpaKernel, call: Call) -> None:
    """A scale below zero is a number like any other, forward and backward."""
    assert wrong(kernel, call, gradients=True) == []


@EVERY_KERNEL
@given(call=calls(scales=(0.0,)))
def test_a_scale_of_zero_is_right(kernel: SdpaKernel, call: Call) -> None:
    """With a scale of zero each query gets the plain mean of what it may attend to, or what the bias makes of it."""
    assert wrong(kernel, call, gradients=True) == []


@EVERY_KERNEL
@given(call=calls(value_dims=(1, 8, 40, 64, 128, 264)))
def test_value_may_have_a_head_size_of_its_own(kernel: SdpaKernel, call: Call) -> None:
    """A value whose head size is not that of query and key gives a right output and right gradients."""
    assert wrong(kernel, call, gradients=True) == []


@EVERY_KERNEL
@given(call=calls(dimensions=(3, 5), mask_shapes=("LS", "HLS", "1S")))
def test_any_number_of_batch_dimensions_is_right(kernel: SdpaKernel, call: Call) -> None:
    """Tensors without a batch dimension, or with two, are as good as those with one."""
    assert wrong(kernel, call, gradients=True) == []


@EVERY_KERNEL
@given(call=calls(masks=MASKS, mask_shapes=("S",)))
def test_a_mask_of_one_dimension_broadcasts(kernel: SdpaKernel, call: Call) -> None:
    """A mask need only be broadcastable to (batch, heads, queries, keys): one number per key is."""
    assert wrong(kernel, call) == []


@EVERY_KERNEL
@given(call=calls(masks=MASKS))
def test_a_mask_beside_is_causal_is_an_error(kernel: SdpaKernel, call: Call) -> None:
    """As documented: "An error is thrown if both attn_mask and is_causal are set"."""
    from conformance.measure.sdpa_oracle import make_inputs, run

    skip_unless_here(kernel)
    both = replace(call, is_causal=True)
    try:
        results = run(both, kernel, make_inputs(both), gradients=False)
    except RuntimeError:
        return
    assert results is None, "it gave a result"


@EVERY_KERNEL
@given(call=calls())
def test_inputs_are_left_alone(kernel: SdpaKernel, call: Call) -> None:
    """Neither forward nor backward writes into query, key, value, mask or the gradient it is given."""
    from conformance.measure.sdpa_oracle import changed, make_inputs, run

    skip_unless_here(kernel)
    inputs = make_inputs(call)
    run(call, kernel, inputs, gradients=True)
    assert changed(inputs, make_inputs(call)) == []


@FUSED_KERNELS
@given(call=calls())
def test_can_use_agrees_with_what_happens(kernel: SdpaKernel, call: Call) -> None:
    """Where `torch.backends.cuda.can_use_*` says yes the kernel gives a right answer, where it says no it refuses."""
    from conformance.measure.sdpa_oracle import DEVICE, can_use, make_inputs, run

    if DEVICE == "cpu":
        pytest.skip("torch.backends.cuda has no say on a CPU")
    inputs = make_inputs(call)
    usable = can_use(call, kernel, inputs)
    if usable is None:
        pytest.skip(f"this torch has no such question for {kernel}")
    assert (run(call, kernel, inputs, gradients=False) is not None) is usable
    assert wrong(kernel, call) == []


@FUSED_KERNELS
@given(call=calls())
def test_a_kernel_that_is_not_here_refuses(kernel: SdpaKernel, call: Call) -> None:
    """A kernel that this device does not have raises the documented error, or the answer is right all the same."""
    from conformance.measure.sdpa_oracle import is_here, make_inputs, problems, run

    if is_here(kernel):
        pytest.skip(f"{kernel} is here")
    inputs = make_inputs(call)
    results = run(call, kernel, inputs, gradients=False)
    assert results is None or problems(call, results, inputs) == []


def wrong(kernel: SdpaKernel, call: Call, *, gradients: bool = False) -> list[str]:
    """What is wrong with the kernel's results; nothing if it refuses the call, which a pinned one may."""
    from conformance.measure.sdpa_oracle import make_inputs, problems, run

    skip_unless_here(kernel)
    inputs = make_inputs(call)
    results = run(call, kernel, inputs, gradients=gradients)
    event("refused" if results is None else "ran")
    if results is None:
        refusable = kernel not in (SdpaKernel.MATH, SdpaKernel.UNPINNED)
        return [] if refusable else [f"{kernel} refused: no kernel is left to take the call"]
    return problems(call, results, inputs)


def skip_unless_here(kernel: SdpaKernel) -> None:
    """Skip the test where even the plainest call is refused."""
    from conformance.measure.sdpa_oracle import DEVICE, is_here

    if not is_here(kernel):
        pytest.skip(f"no {kernel} kernel on this {DEVICE}")
