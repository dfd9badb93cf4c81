"""compressed-tensors: checkpoints of integers, packed or not, of FP8 and of NVFP4."""

from typing import Any

from matrix.rooms import Quantisation

_IN = "architecture=llama,llama_blocks,{odd}llama_uneven,qwen3_tied,bert,t5,opt,mixtral,qwen3_moe"

_TRIED = "attention=sdpa sdpa_kernel=unpinned padding=left device_map=none dtype=float32,bfloat16 cache=dynamic"
_ALL = f"{_IN} {_TRIED} workload=prefill,reload,saved_again"
_GENERATED = f"architecture=llama,qwen3_tied,t5,mixtral {_TRIED} workload=generate"


def _format(name: str, place: int, about: str, stored_as: str = "", **known: Any) -> Quantisation:
    return Quantisation(
        name=f"ct_{name}",
        about=f"a checkpoint of compressed-tensors, {about}",
        place=place,
        family="compressed",
        needs=("compressed-tensors",),
        stored_as=stored_as,
        written=True,
        profiles={
            # Rows that no groups divide are left as they are by its producers: of these nothing would be quantised.
            "quantisers": (_ALL.format(odd="" if "4" in name else "llama_odd,"), _GENERATED),
        },
        **known,
    )


_INT4 = "int4, eight a word, in groups of 32"

ROOMS = (
    _format("int4", 300, _INT4, "int of 4 bits in int32"),
    _format("int4_asym", 310, f"{_INT4} with zero points", "int of 4 bits in int32 with zero points"),
    _format("int8", 320, "int8, four a word, by row", "int of 8 bits in int32"),
    _format("w8a8", 330, "int8 by row, inputs in int8 by token", "int of 8 bits in int8"),
    _format("fp8", 340, "e4m3 by row, inputs in e4m3 by token", "float of 8 bits in float8_e4m3fn"),
    _format("nvfp4", 350, "NVFP4, in groups of 16 under one scale", "float of 4 bits in uint8"),
    _format("int4_dequantised", 360, f"{_INT4}, dequantised when it is loaded"),
    _format("int4_asym_dequantised", 365, f"{_INT4} with zero points, dequantised when it is loaded"),
    _format("int4_frozen", 370, f"{_INT4}, marked as frozen", "int of 4 bits in int32"),
    _format("fp8_frozen", 380, "e4m3 by row, marked as frozen", "float of 8 bits in float8_e4m3fn"),
    _format("w8a8_frozen", 390, "int8 by row, marked as frozen", "int of 8 bits in int8"),
)
