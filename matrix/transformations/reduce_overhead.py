"""The whole model through torch.compile, with CUDA graphs."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Transformation, Values
from matrix.transformations.compiled import PLAN, impossible_to_compile, ran_plain


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.workload == "prefill":
        return "a CUDA graph is recorded in the second pass and replayed from the third: one pass shows nothing of it"
    return impossible_to_compile(cell, architecture)


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    yield from ran_plain(cell, architecture, evidence, device)
    if evidence.graphs.get("runs") and not evidence.graphs.get("replays"):
        yield "no CUDA graph was replayed"


ROOMS = (
    Transformation(
        name="reduce_overhead",
        about='then model.forward = torch.compile(model.forward, mode="reduce-overhead"): CUDA graphs',
        place=30,
        profiles={
            "decoding": f"architecture=gpt2,llama,mistral,t5 attention=sdpa,flash_attention_2 workload=generate {PLAN}"
        },
        compiles=True,
        impossible=_impossible,
        substituted=_substituted,
    ),
)
