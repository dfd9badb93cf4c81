"""torchao. Its weights are tensors of their own kind in ordinary linear modules."""

from collections.abc import Mapping
from typing import Any

from matrix.rooms import Quantisation


def _format(
    name: str, place: int, about: str, stored_as: str, profiles: Mapping[str, str] | None = None, **known: Any
) -> Quantisation:
    return Quantisation(
        name=f"torchao_{name}",
        about=f"quantised by torchao to {about}",
        place=place,
        family="torchao",
        needs=("torchao",),
        stored_as=stored_as,
        placed_first=True,
        profiles=profiles or {},
        **known,
    )


ROOMS = (
    _format(
        "int8",
        100,
        "int8, weights only, a scale for each row",
        "Int8Tensor by row",
        profiles={
            "smoke": "architecture=llama,bert,t5,opt attention=eager,sdpa sdpa_kernel=unpinned padding=left"
            " device_map=none workload=prefill,generate",
            "pairwise": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned workload=prefill,generate"
            " device_map=none,auto",
        },
    ),
    _format("float8", 110, "float8 (e4m3), weights only, a scale for each row", "Float8Tensor by row"),
    _format("intx4", 120, "int4 in groups of 32, a byte each", "IntxUnpackedToInt8Tensor by 32"),
    _format(
        "int8_dynamic",
        130,
        "int8, weights by row and activations by token",
        "Int8Tensor by row with activations",
        ops=("aten::_int_mm",),
    ),
    _format(
        "float8_dynamic",
        140,
        "float8 (e4m3), weights by row and activations by token",
        "Float8Tensor by row with activations",
        ops=("aten::_scaled_mm",),
    ),
    _format("int4", 150, "int4 in groups of 32, two to a byte, for mslk", "Int4Tensor by 32", ops=("mslk",)),
    _format(
        "int4_tiles",
        160,
        "int4 in groups of 32, in tiles for tinygemm",
        "Int4TilePackedTo4dTensor by 32",
        ops=("aten::_weight_int4pack_mm",),
    ),
)
