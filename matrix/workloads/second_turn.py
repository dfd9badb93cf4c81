"""What is said next is generated on from with the cache of the first answer."""

from matrix.architectures import Architecture
from matrix.observation import Phase
from matrix.rooms import Inputs, Values, Workload
from matrix.workloads.second_turn_by_hand import PROFILES, impossible_to_go_on


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.cache != "dynamic":
        return "a cache that generate() makes as long as the first answer has no room for another"
    return impossible_to_go_on(cell, architecture)


ROOMS = (
    Workload(
        name="second_turn",
        about="greedy generation of 12 tokens, 3 given ones, and 8 more generated with the first one's cache",
        phases=(Phase.GENERATE,),
        judged="each step's logits and each token are judged",
        inputs=Inputs.CONTINUE,
        decodes=True,
        profiles=PROFILES,
        impossible=_impossible,
    ),
)
