"""One forward pass."""

from matrix.observation import Phase
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="prefill",
        about="one forward pass",
        place=10,
        phases=(Phase.FORWARD,),
        judged="the logits of all attended positions are judged",
        priced_by="pass",
    ),
)
