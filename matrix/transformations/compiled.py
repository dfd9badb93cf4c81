"""The whole model through torch.compile."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.axes import Attention
from matrix.observation import Evidence
from matrix.rooms import Transformation, Values

_WORKLOADS = ("prefill", "generate", "continued")


def not_compiled(cell: Values, architecture: Architecture) -> str | None:
    """Why a cell's model is not tried compiled as a whole."""
    if cell.attention is Attention.FLEX_ATTENTION:
        return "flex attention is compiled by itself, and is tried so"
    if cell.workload not in _WORKLOADS or cell.device_map != "none" or cell.quantisation != "none":
        return (
            "what is compiled is tried unquantised on one device, in a forward pass, a loop with a cache and generate"
        )
    return None


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    told = evidence.graphs
    if not told.get("runs"):
        yield "nothing that was compiled ran"
    elif plain := told.get("plain"):
        why = f", since it was compiled {len(evidence.recompiled)} times more" if evidence.recompiled else ""
        yield f"{plain} of {told['forwards']} forward passes ran plain{why}"


ROOMS = (
    Transformation(
        name="compiled",
        about="then model.forward = torch.compile(model.forward)",
        place=20,
        profiles={
            "decoding": "architecture=bert,gpt2,llama,mistral,t5"
            " attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
            " padding=left workload=prefill,generate cache=dynamic,static dtype=bfloat16"
        },
        compiles=True,
        impossible=not_compiled,
        substituted=_substituted,
    ),
)
