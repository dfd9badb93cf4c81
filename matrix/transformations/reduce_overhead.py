"""The whole model through torch.compile, recorded in CUDA graphs."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Transformation, Values
from matrix.transformations.compiled import not_compiled, ran_plain

_SHARED = (
    "sdpa_kernel=unpinned quantisation=none device_map=none padding=left cache=dynamic,static dtype=bfloat16"
    " architecture=bert,gpt2,llama,mistral,t5"
)


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    told = evidence.graphs
    runs, replays = told.get("runs", 0), told.get("replays", 0)
    if 2 * replays < runs:  # of each shape the first run is plain, and the second is recorded and replayed
        yield f"CUDA graphs were replayed {replays} times in {runs} runs of what was compiled"
    yield from ran_plain(cell, architecture, evidence, device)


ROOMS = (
    Transformation(
        name="reduce_overhead",
        about='then model.forward = torch.compile(model.forward, mode="reduce-overhead"), and logits are cloned',
        place=25,
        profiles={
            "decoding": (
                f"{_SHARED} attention=eager,sdpa,flash_attention_2 workload=prefill",
                f"{_SHARED} attention=sdpa,flash_attention_2 workload=continued,generate",
            )
        },
        compiles=True,
        impossible=not_compiled,
        substituted=_substituted,
    ),
)
