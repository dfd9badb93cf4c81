"""Caches that hold keys and values in fewer bits."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Cache, Substituted, Values

_TRIED = (
    "attention=sdpa sdpa_kernel=unpinned quantisation=none device_map=none padding=left workload=generate,beam"
    " dtype=float32,bfloat16"
)


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.quantisation.stored_as:
        return "what weights cost and what a cache costs are measured apart"
    if "mrope" in architecture.traits and architecture.inputs.get("noise"):
        return "what rounding costs is measured step by step by hand, where such a model does not find its positions"
    return None


def _held_by(layer: str) -> Substituted:
    def substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
        if evidence.caches != ("QuantizedCache",):
            yield f"the cache was {', '.join(evidence.caches) or 'not seen'}, not a QuantizedCache"
        elif {said.partition(":")[0] for said in evidence.cache_layers} != {layer}:
            yield f"its layers were {', '.join(evidence.cache_layers) or 'not seen'}, not of class {layer}"

    return substituted


def _room(name: str, about: str, layer: str, needs: tuple[str, ...] = (), only: str = "") -> Cache:
    return Cache(
        name=name,
        about=about,
        family="quantised",
        needs=needs,
        rounds=True,
        profiles={"decoding": f"{only} {_TRIED}"},
        impossible=_impossible,
        substituted=_held_by(layer),
    )


ROOMS = (
    _room("quantised_fp8", "backend fp8: 8-bit floats under one scale for a tensor", "Fp8QuantizedLayer"),
    _room("quantised_hqq4", "backend hqq, 4 bits, a scale for 16 features", "HQQQuantizedLayer", ("hqq",)),
    _room("quantised_hqq8", "backend hqq, 8 bits, a scale for 16 features", "HQQQuantizedLayer", ("hqq",)),
    _room(
        "quantised_quanto4",
        "backend quanto, 4 bits, a scale for 16 features",
        "QuantoQuantizedLayer",
        ("optimum-quanto",),
        "architecture=gpt2,llama",  # on a GPU quanto compiles its kernels first, for two minutes
    ),
)
