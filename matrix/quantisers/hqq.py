"""Half-quadratic quantisation. transformers 5 documents it, and says at load that it will come."""

from matrix.rooms import Quantisation

ROOMS = (
    Quantisation(
        name="hqq4",
        about="quantised by hqq to 4 bits, in groups of 64",
        place=300,
        family="hqq",
        needs=("hqq",),
        module="HQQLinear",
        stored_as="4 bits by 64",
        placed_first=True,
        profiles={},
    ),
)
