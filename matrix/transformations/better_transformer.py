"""BetterTransformer: encoders through torch's fast path, decoders through SDPA."""

from collections.abc import Iterator

from matrix.architectures import Architecture, Kind
from matrix.axes import Attention
from matrix.kernels import ENCODER_LAYER, kernels_seen
from matrix.observation import Evidence
from matrix.rooms import Transformation, Values

_TRANSFORMED = (Attention.EAGER, Attention.SDPA, Attention.FLASH_ATTENTION_2)
_WORKLOADS = ("prefill", "generate", "train", "reload")


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.attention not in _TRANSFORMED or cell.workload not in _WORKLOADS:
        return "BetterTransformer is tried in place of eager attention, and beside what it refuses: SDPA and FA2"
    return None


def _kernels(cell: Values, architecture: Architecture) -> frozenset[str]:
    encodes = architecture.kind is Kind.ENCODER and cell.workload != "train"
    return frozenset({ENCODER_LAYER}) if encodes else frozenset()


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    if kernels_seen(evidence) == ("eager",):
        yield "the conversion changes nothing that runs: attention is eager still"


ROOMS = (
    Transformation(
        name="better_transformer",
        about="then model.to_bettertransformer()",
        place=10,
        profiles={},
        through_sdpa=True,
        kernels=_kernels,
        impossible=_impossible,
        substituted=_substituted,
    ),
)
