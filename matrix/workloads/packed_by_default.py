"""Several documents in one row, and nothing said of a cache."""

from matrix.observation import Phase
from matrix.rooms import Workload
from matrix.workloads.packed import JUDGED_APART, impossible_to_pack, with_attention

ROOMS = (
    Workload(
        name="packed_by_default",
        about="4 documents in one row, told apart by positions, with the cache that a call makes by itself",
        phases=(Phase.FORWARD,),
        judged=JUDGED_APART,
        profiles=with_attention("eager,sdpa,flash_attention_2"),
        impossible=impossible_to_pack,
    ),
)
