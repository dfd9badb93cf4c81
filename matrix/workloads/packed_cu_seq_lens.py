"""Several documents in one row, with their bounds as kernels take them."""

from matrix.observation import Phase
from matrix.rooms import Workload
from matrix.workloads.packed import JUDGED_APART, impossible_to_pack, with_attention

ROOMS = (
    Workload(
        name="packed_cu_seq_lens",
        about="4 documents in one row, told apart by positions and cu_seq_lens, without cache and mask",
        phases=(Phase.FORWARD,),
        judged=JUDGED_APART,
        profiles=with_attention("sdpa,flash_attention_2"),
        impossible=impossible_to_pack,
    ),
)
