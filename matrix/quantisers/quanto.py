"""optimum-quanto. Its weights are tensors of their own kind in modules of its own; no model of it can be saved."""

from typing import Any

from matrix.rooms import Quantisation


def _format(name: str, place: int, about: str, stored_as: str, **known: Any) -> Quantisation:
    return Quantisation(
        name=f"quanto_{name}",
        about=f"quantised by quanto to {about}",
        place=place,
        family="quanto",
        needs=("optimum-quanto", "accelerate"),
        module="QLinear",
        stored_as=stored_as,
        placed_first=True,
        profiles={},
        **known,
    )


ROOMS = (
    _format("int8", 200, "int8, a scale for each row", "qint8", ops=("quanto",)),
    _format("float8", 210, "float8 (e4m3), a scale for each row", "qfloat8_e4m3fn", ops=("quanto",)),
    _format("int4", 220, "int4, in groups of up to 128 where they fit into a row", "qint4"),
)
