"""Several documents in one row, under a mask of ones."""

from matrix.observation import Phase
from matrix.rooms import Workload
from matrix.workloads.packed import JUDGED_APART, impossible_to_pack, with_attention

ROOMS = (
    Workload(
        name="packed_masked",
        about="4 documents in one row, told apart by positions, under a mask of ones and without cache",
        phases=(Phase.FORWARD,),
        judged=JUDGED_APART,
        profiles=with_attention("sdpa,flash_attention_2"),
        impossible=impossible_to_pack,
    ),
)
