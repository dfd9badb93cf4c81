"""MXFP4: checkpoints of GPT-OSS, whose experts are held in blocks of 32 under a power of two."""

from typing import Any

from matrix.architectures import Architecture
from matrix.rooms import Quantisation, Values

_LEFT = ("q_proj", "k_proj", "v_proj", "o_proj")  # attention, which is no part of the format


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if architecture.model_type != "gpt_oss":
        return "MXFP4 is the format of GPT-OSS's experts: transformers has modules for it in no other model"
    return None


def _format(name: str, place: int, about: str, **known: Any) -> Quantisation:
    return Quantisation(
        name=name,
        about=f"a checkpoint whose experts are in MXFP4 (E2M1, a power of two for each 32){about}",
        place=place,
        family="mxfp4_blocks",
        needs=("accelerate",),
        written=True,
        profiles={
            "quantisers": "architecture=gpt_oss attention=eager sdpa_kernel=unpinned padding=left device_map=none"
            " dtype=float32,bfloat16 workload=prefill,generate,reload,saved_again cache=dynamic",
        },
        impossible=_impossible,
        **known,
    )


ROOMS = (
    _format(
        "mxfp4",
        450,
        "",
        stored_as="e2m1 by 32",
        skips=_LEFT,
        dequantised="[Ww]e will (default to dequantizing|dequantize) the model to bf16",
    ),
    _format("mxfp4_dequantised", 460, ", dequantised when it is loaded"),
)
