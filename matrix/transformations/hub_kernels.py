"""Layers whose forward pass comes from the hub: `use_kernels=True`."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.axes import Attention
from matrix.observation import Evidence
from matrix.rooms import Transformation, Values

_WORKLOADS = ("prefill", "generate")


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.attention not in (Attention.EAGER, Attention.SDPA):
        return "layers of the hub are tried beside eager attention and SDPA"
    if cell.workload not in _WORKLOADS or cell.device_map != "none" or cell.quantisation != "none":
        return "layers of the hub are tried unquantised on one device, in a forward pass and generate"
    return None


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    if not evidence.replaced_forward:
        yield "nothing came from the hub: every layer has its own forward pass"


ROOMS = (
    Transformation(
        name="hub_kernels",
        about="then model.set_use_kernels(True), as from_pretrained(use_kernels=True) does",
        place=30,
        profiles={
            "hub_kernels": "architecture=bert,gpt2,llama,mamba2,mixtral,qwen3_moe,t5 attention=eager,sdpa"
            " sdpa_kernel=unpinned quantisation=none device_map=none padding=left workload=prefill,generate"
            " cache=dynamic dtype=float32,bfloat16"
        },
        impossible=_impossible,
        substituted=_substituted,
    ),
)
