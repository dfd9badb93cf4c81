"""The whole model through torch.compile."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.axes import Attention
from matrix.observation import Evidence
from matrix.rooms import Transformation, Values

_WORKLOADS = ("prefill", "generate", "continued")
PLAN = "sdpa_kernel=unpinned quantisation=none device_map=none padding=left cache=dynamic,static dtype=bfloat16"


def impossible_to_compile(cell: Values, architecture: Architecture) -> str | None:
    """Why no such cell is tried, or None."""
    if cell.attention is Attention.FLEX_ATTENTION:
        return "flex attention is compiled by itself, and is tried so"
    if cell.workload not in _WORKLOADS or cell.device_map != "none" or cell.quantisation != "none":
        return (
            "what is compiled is tried unquantised on one device, in a forward pass, a loop with a cache and generate"
        )
    return None


def ran_plain(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    """Words for each way in which the plain model ran."""
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
            "decoding": "architecture=bert,falcon,gpt2,llama,mamba,mistral,mixtral,t5"
            f" attention=eager,sdpa,flash_attention_2 workload=prefill,generate {PLAN}"
        },
        compiles=True,
        impossible=impossible_to_compile,
        substituted=ran_plain,
    ),
)
