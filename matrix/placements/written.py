"""Dicts as people write them: GPU 0 and the CPU, or where there is no GPU the CPU and the disk."""

from matrix.placed import near_and_far, unquantised
from matrix.rooms import Placement

_WRITTEN = {
    "layer_split": "a device_map in which the parts of the last block lie in two places by turns",
    "key_too_many": "a device_map that names a block which the model has not",
    "key_missing": "a device_map that says of one part with weights nothing",
    "root_and_part": 'a device_map of "" and, elsewhere, the last block',
    "ends_away": "a device_map with the embeddings and the head elsewhere as well: model.device says meta",
    "head_away": "a device_map with the head elsewhere as well, but not the embeddings, though they be tied",
}

ROOMS = tuple(
    Placement(
        name=name,
        about=about,
        place=70 + number,
        family="written",
        profiles={},
        impossible=unquantised,
        substituted=near_and_far,
    )
    for number, (name, about) in enumerate(_WRITTEN.items())
)
