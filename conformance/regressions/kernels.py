"""`scaled_dot_product_attention` itself, kernel by kernel, held against the formula in float64."""

from dataclasses import replace
from typing import Any

import torch

from conformance import spellings
from conformance.lab import Lab, Violated
from conformance.models.loading import torch_dtype
from conformance.sdpa.calls import Call, Layout, Mask
from conformance.sdpa.oracle import make_inputs, problems, run
from matrix.axes import Dtype, SdpaKernel


def sdpa_fully_masked_row_nan(lab: Lab) -> None:
    """A query that may look at nothing gives no NaN, and its neighbours are right."""
    for kernel in _without_cudnn(lab):
        query, key, value = _draw(lab, Dtype.BFLOAT16, (2, 4, 33, 64), (2, 4, 33, 64))
        mask = torch.ones(33, 33, dtype=torch.bool, device=lab.device).tril().repeat(2, 1, 1, 1)
        mask[1, :, :, :9] = False  # as left padding does: the first nine queries of row 1 see nothing
        _judge(lab, kernel, Dtype.BFLOAT16, query, key, value, mask, attended=mask.any(-1).expand(2, 4, 33))
        for spelled in (mask, torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, float("-inf"))):
            found = _attend(kernel, query, key, value, spelled)
            if not torch.isfinite(found).all():
                raise Violated(f"{kernel}: NaN under a fully masked {str(spelled.dtype).removeprefix('torch.')} mask")


def sdpa_masked_strided_inputs_garbage(lab: Lab) -> None:
    """float32, an explicit mask, and inputs that are transposed views, as a projection leaves them."""
    transposed = {f"{name}_layout": Layout.TRANSPOSED for name in ("query", "key", "value")}
    call = Call(batch=2, heads=4, kv_heads=4, queries=65, keys=65, head_dim=64, mask=Mask.BOOL, mask_shape="B1LS")
    call = replace(call, **transposed)
    for kernel in _without_cudnn(lab):
        inputs = make_inputs(call)
        found = run(call, kernel, inputs, gradients=False)
        # A kernel alone may err by more than a whole model would let through: it is held to the kernels' own bounds.
        wrong = problems(call, found, inputs) if found is not None else []
        if wrong:
            raise Violated(f"{kernel}: {'; '.join(wrong)}")


def sdpa_expanded_keys_length_33(lab: Lab) -> None:
    """Key/value heads expanded with stride 0, kv lengths one past a multiple of 32, bfloat16, a boolean mask."""
    for keys in (33, 65):
        query, key, value = _draw(lab, Dtype.BFLOAT16, (1, 8, keys, 64), (1, 1, keys, 64))
        mask = torch.ones(keys, keys, dtype=torch.bool, device=lab.device).tril()[None, None]
        for kernel in _without_cudnn(lab):
            expanded = (tensor.expand(-1, 8, -1, -1) for tensor in (key, value))
            _judge(lab, kernel, Dtype.BFLOAT16, query, *expanded, mask)


def sdpa_cudnn_backward_nan_length_704(lab: Lab) -> None:
    """length % 128 == 64, a mask, and every logit near -120: the gradient of the queries was NaN."""
    length, size = 704, 64
    for kernel in lab.masked_kernels:
        query, key, value = _draw(lab, Dtype.BFLOAT16, (1, 1, length, size), (1, 1, length, size))
        query, key = query * 0.1, key * 0.1
        query[..., 0], key[..., 0] = 1.0, -120 * size**0.5
        mask = torch.ones(length, length, dtype=torch.bool, device=lab.device).tril()[None, None]
        _judge_gradients(lab, kernel, query, key, value, mask)


def sdpa_default_backward_nan(lab: Lab) -> None:
    """Gradients through whichever kernel torch chooses, without a mask, head sizes and lengths as in diffusion."""
    query, key, value = _draw(lab, Dtype.BFLOAT16, (2, 4, 226, 64), (2, 4, 226, 64))
    _judge_gradients(lab, SdpaKernel.UNPINNED, query, key, value, None)


def _without_cudnn(lab: Lab) -> list[SdpaKernel]:
    """The kernels of older reports, from before cuDNN was one: it declines float32 and some shapes."""
    return [kernel for kernel in lab.masked_kernels if kernel is not SdpaKernel.CUDNN]


def _draw(lab: Lab, dtype: Dtype, queries: tuple[int, ...], keys: tuple[int, ...]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape).to(lab.device, torch_dtype(dtype)) for shape in (queries, keys, keys)]


def _attend(kernel: SdpaKernel, *tensors: torch.Tensor | None) -> torch.Tensor:
    with spellings.pinned(kernel):
        return torch.nn.functional.scaled_dot_product_attention(*tensors)  # type: ignore[arg-type]


def _by_definition(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ value


def _judge(
    lab: Lab,
    kernel: SdpaKernel,
    dtype: Dtype,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    attended: torch.Tensor | None = None,
) -> None:
    golden = _by_definition(query.double(), key.double(), value.double(), mask)
    everywhere = torch.ones(golden.shape[:3], dtype=torch.bool, device=lab.device)
    lab.judge(
        f"{kernel} with {key.shape[-2]} keys",
        candidate=_attend(kernel, query, key, value, mask),
        baseline=_by_definition(query, key, value, mask),
        golden=golden,
        attended=everywhere if attended is None else attended,
        dtype=dtype,
    )


def _judge_gradients(
    lab: Lab, kernel: SdpaKernel, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> None:
    weights = torch.randn(query.shape, generator=torch.Generator().manual_seed(1)).to(query)

    def gradients(attend: Any, dtype: torch.dtype) -> list[torch.Tensor]:
        leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in (query, key, value)]
        attend(*leaves, mask).backward(weights.to(dtype))
        return [leaf.grad for leaf in leaves]

    found = gradients(lambda *tensors: _attend(kernel, *tensors), query.dtype)
    eager, truth = gradients(_by_definition, query.dtype), gradients(_by_definition, torch.float64)
    for index, name in enumerate(("query", "key", "value")):
        lab.judge(
            f"{kernel} gradient of the {name}",
            candidate=found[index],
            baseline=eager[index],
            golden=truth[index],
            attended=torch.ones(query.shape[:3], dtype=torch.bool, device=lab.device),
            dtype=Dtype.BFLOAT16,
        )
