"""Finegrained FP8: checkpoints with a scale for each block of 128 by 128."""

from typing import Any

from matrix.rooms import Quantisation

_IN = "architecture=llama,llama_blocks,llama_odd,llama_uneven,qwen3_tied,bert,t5,opt,mixtral,qwen3_moe"

_TRIED = "attention=sdpa sdpa_kernel=unpinned padding=left device_map=none dtype=float32,bfloat16 cache=dynamic"
_ALL = f"{_IN} {_TRIED} workload=prefill,reload,saved_again"
_GENERATED = f"architecture=llama,llama_blocks,qwen3_tied,t5,qwen3_moe {_TRIED} workload=generate"


def _format(name: str, place: int, about: str, **known: Any) -> Quantisation:
    return Quantisation(
        name=name,
        about=f"a checkpoint in finegrained FP8 {about}",
        place=place,
        family="finegrained_fp8",
        needs=("accelerate",),
        written=True,
        profiles={"quantisers": (_ALL, _GENERATED)},
        **known,
    )


ROOMS = (
    _format(
        "fp8",
        200,
        "(blocks of 128 by 128)",
        module="FP8Linear",
        stored_as="e4m3 by block",
        dequantised="we will default to dequantizing the model to bf16",
    ),
    _format("fp8_dequantised", 210, "that is dequantised when it is loaded"),
)
