"""The whole model through torch.compile, recorded in CUDA graphs."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Transformation, Values
from matrix.transformations.compiled import not_compiled

_SHARED = (
    "architecture=bert,gpt2,llama,mistral,t5 sdpa_kernel=unpinned quantisation=none device_map=none padding=left"
    " dtype=bfloat16"
)


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    told = evidence.graphs
    runs, replays, plain = (told.get(name, 0) for name in ("runs", "replays", "plain"))
    if 2 * replays < max(1, runs):  # of each shape the first run is plain, and the second is recorded and replayed
        yield f"CUDA graphs were replayed {replays} times in {runs} runs of what was compiled"
    if plain > (cell.workload != "prefill"):  # the prompt that fills a cache
        yield f"{plain} of {told['forwards']} forward passes ran plain"


ROOMS = (
    Transformation(
        name="reduce_overhead",
        about='then model.forward = torch.compile(model.forward, mode="reduce-overhead"), and logits are cloned',
        place=25,
        profiles={
            "decoding": (
                f"{_SHARED} attention=eager,sdpa,flash_attention_2 workload=prefill cache=dynamic",
                f"{_SHARED} attention=sdpa workload=continued,generate cache=dynamic",
                f"{_SHARED} attention=eager,sdpa workload=generate cache=static",
            )
        },
        compiles=True,
        impossible=not_compiled,
        substituted=_substituted,
    ),
)
