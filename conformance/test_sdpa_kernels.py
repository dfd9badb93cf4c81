"""`scaled_dot_product_attention` itself: properties that each kernel must have for every call that it accepts.

Hypothesis makes the calls and shrinks one that fails to a minimal example. `conformance.sdpa.oracle` rebuilds
its tensors: `make_inputs(Call(...))`. By default the examples are few and always the same; for hours of new ones
use `--hypothesis-profile=long`. The smallest calls that are known to go wrong somewhere come first, on every kernel:
whether a known fault is found is not left to what is drawn.
"""

from dataclasses import replace

import pytest
from hypothesis import example, given

from conformance.sdpa.calls import Call, Layout, Mask, calls, empty_calls
from matrix.axes import SdpaKernel

EVERY_KERNEL = pytest.mark.parametrize("kernel", SdpaKernel)
FUSED_KERNELS = pytest.mark.parametrize("kernel", [SdpaKernel.FLASH, SdpaKernel.MEM_EFFICIENT, SdpaKernel.CUDNN])


@EVERY_KERNEL
@given(call=calls())
def test_forward_is_right(kernel: SdpaKernel, call: Call) -> None:
    """The output is as close to float64 as eager attention's, whatever the shapes, strides, mask and scale."""
    assert_right(kernel, call)


@EVERY_KERNEL
@given(call=calls())
def test_backward_is_right(kernel: SdpaKernel, call: Call) -> None:
    """The gradients of query, key and value are as close to float64 as eager attention's."""
    assert_right(kernel, call, gradients=True)


@EVERY_KERNEL
@given(call=calls(spreads=(1.0, 100.0, 1000.0), shifts=(-120.0, 120.0, -1000.0), masked_rows=True))
def test_results_are_finite_where_the_truth_is(kernel: SdpaKernel, call: Call) -> None:
    """Output and gradients are finite where float64's fit into the dtype, however large the scores."""
    from conformance.sdpa.oracle import make_inputs, not_finite, run

    skip_unless_here(kernel)
    inputs = make_inputs(call)
    results = run(call, kernel, inputs, gradients=True)
    assert_none([] if results is None else not_finite(call, results, inputs))


@EVERY_KERNEL
@given(call=calls(masking=("mask",), masks=(Mask.BOOL, Mask.FLOAT_INF), masked_rows=True))
@example(call=Call(keys=2, dtype="float16", mask=Mask.BOOL, masked_rows=True))
def test_a_query_that_may_attend_to_nothing_gets_zeros(kernel: SdpaKernel, call: Call) -> None:
    """Fully masked rows give zeros, forward and backward, and leave the other rows right."""
    assert_right(kernel, call, gradients=True)


@EVERY_KERNEL
@given(call=empty_calls())
@example(call=Call(batch=0, head_dim=512, dtype="float16"))
def test_empty_calls_give_empty_results_or_zeros(kernel: SdpaKernel, call: Call) -> None:
    """Without batch elements, queries or keys the output is empty or zero, and so are the gradients."""
    # Over no keys the documented formula sums nothing, which is zero.
    assert_right(kernel, call, gradients=True)


@EVERY_KERNEL
@given(call=calls(scales=(0.0, -0.5), masking=("none", "mask")))
@example(call=Call(dtype="float16", scale=0.0))
@example(call=Call(keys=2, dtype="float16", scale=0.0))
def test_a_scale_of_zero_or_below_is_right(kernel: SdpaKernel, call: Call) -> None:
    """A scale that is not positive is a number like any other, forward and backward."""
    assert_right(kernel, call, gradients=True)


@EVERY_KERNEL
@given(call=calls(scales=(0.0, -0.5), masking=("causal",)))
@example(call=Call(dtype="float16", is_causal=True, scale=0.0))
@example(call=Call(queries=2, keys=2, dtype="float16", is_causal=True, scale=0.0))
def test_causal_with_a_scale_of_zero_or_below_is_right(kernel: SdpaKernel, call: Call) -> None:
    """The same with is_causal: what the future scores is hidden after the scale is applied, not before."""
    assert_right(kernel, call, gradients=True)


@EVERY_KERNEL
@given(call=calls(value_dims=(1, 8, 40, 64, 128, 264)))
@example(
    call=Call(
        batch=2,
        heads=2,
        kv_heads=2,
        queries=3,
        keys=3,
        head_dim=136,
        value_dim=40,
        dtype="bfloat16",
        query_layout=Layout.EXPANDED_BATCH,
        key_layout=Layout.EXPANDED_BATCH,
        value_layout=Layout.EXPANDED_BATCH,
    )
)
def test_value_may_have_a_head_size_of_its_own(kernel: SdpaKernel, call: Call) -> None:
    """A value whose head size is not that of query and key gives a right output and right gradients."""
    assert_right(kernel, call, gradients=True)


@EVERY_KERNEL
@given(call=calls(dimensions=(3, 5), mask_shapes=("LS", "HLS", "1S")))
def test_any_number_of_batch_dimensions_is_right(kernel: SdpaKernel, call: Call) -> None:
    """Tensors without a batch dimension, or with two, are as good as those with one."""
    assert_right(kernel, call, gradients=True)


@EVERY_KERNEL
@given(call=calls(aligned=False))
def test_tensors_off_any_alignment_are_right(kernel: SdpaKernel, call: Call) -> None:
    """What is cut out of a larger tensor, and begins anywhere in memory, is as good as a tensor of its own."""
    assert_right(kernel, call, gradients=True)


@EVERY_KERNEL
@given(call=calls(masking=("mask",), mask_shapes=("BHL1", "L1")))
@example(call=Call(keys=2, mask=Mask.BOOL, mask_shape="BHL1"))
@example(call=Call(batch=2, queries=64, keys=63, head_dim=136, dtype="bfloat16", mask=Mask.BOOL, mask_shape="L1"))
def test_a_mask_that_broadcasts_over_the_keys_is_right(kernel: SdpaKernel, call: Call) -> None:
    """A mask may say for a whole query what holds for all of its keys."""
    assert_right(kernel, call)


@EVERY_KERNEL
@given(call=calls(masking=("mask",), mask_shapes=("S",)))
@example(call=Call(dtype="float16", mask=Mask.BOOL, mask_shape="S"))
def test_a_mask_of_one_dimension_broadcasts(kernel: SdpaKernel, call: Call) -> None:
    """A mask need only be broadcastable to (batch, heads, queries, keys): one number per key is."""
    assert_right(kernel, call)


@EVERY_KERNEL
@given(call=calls(masking=("mask",)).map(lambda call: replace(call, is_causal=True)))
@example(call=Call(keys=2, dtype="float16", mask=Mask.BOOL, is_causal=True))
def test_a_mask_beside_is_causal_is_an_error(kernel: SdpaKernel, call: Call) -> None:
    """As documented: "An error is thrown if both attn_mask and is_causal are set"."""
    from conformance.sdpa.oracle import make_inputs, run

    skip_unless_here(kernel)
    try:
        refused = run(call, kernel, make_inputs(call), gradients=False) is None
    except RuntimeError:
        refused = True
    assert refused, "it gave a result"


@EVERY_KERNEL
@given(call=calls())
def test_inputs_are_left_alone(kernel: SdpaKernel, call: Call) -> None:
    """Neither forward nor backward writes into query, key, value, mask or the gradient it is given."""
    from conformance.sdpa.oracle import changed, make_inputs, run

    skip_unless_here(kernel)
    inputs = make_inputs(call)
    run(call, kernel, inputs, gradients=True)
    assert_none([f"{name} was written to" for name in changed(inputs, make_inputs(call))])


@FUSED_KERNELS
@given(call=calls())
def test_can_use_agrees_with_what_happens(kernel: SdpaKernel, call: Call) -> None:
    """Where `torch.backends.cuda.can_use_*` says yes the kernel gives a right answer, where it says no it refuses."""
    from conformance.sdpa.oracle import DEVICE, can_use, make_inputs, run

    if DEVICE == "cpu":
        pytest.skip("torch.backends.cuda has no say on a CPU")
    inputs = make_inputs(call)
    usable = can_use(call, kernel, inputs)
    if usable is None:
        pytest.skip(f"this torch has no such question for {kernel}")
    runs = run(call, kernel, inputs, gradients=False) is not None
    assert runs == usable, f"it {'runs' if runs else 'refuses'}, but can_use says {usable}"
    assert_right(kernel, call)


@FUSED_KERNELS
@given(call=calls())
def test_a_kernel_that_is_not_here_refuses(kernel: SdpaKernel, call: Call) -> None:
    """A kernel that this device does not have raises the documented error, or the answer is right all the same."""
    from conformance.sdpa.oracle import is_here, make_inputs, problems, run

    if is_here(kernel):
        pytest.skip(f"{kernel} is here")
    inputs = make_inputs(call)
    results = run(call, kernel, inputs, gradients=False)
    assert_none([] if results is None else problems(call, results, inputs))


def assert_right(kernel: SdpaKernel, call: Call, *, gradients: bool = False) -> None:
    """The kernel's results hold the bounds; a pinned kernel may refuse the call instead."""
    __tracebackhide__ = True
    from conformance.sdpa.oracle import make_inputs, problems, run

    skip_unless_here(kernel)
    inputs = make_inputs(call)
    results = run(call, kernel, inputs, gradients=gradients)
    if results is None:
        assert kernel not in (SdpaKernel.MATH, SdpaKernel.UNPINNED), f"{kernel} refused: who else should take the call?"
    else:
        assert_none(problems(call, results, inputs))


def assert_none(found: list[str]) -> None:
    """Nothing was found wrong; the message is what was."""
    __tracebackhide__ = True
    if found:
        raise AssertionError("\n".join(found))


def skip_unless_here(kernel: SdpaKernel) -> None:
    """Skip the test where even the plainest call is refused."""
    from conformance.sdpa.oracle import DEVICE, is_here

    if not is_here(kernel):
        pytest.skip(f"no {kernel} kernel on this {DEVICE}")
