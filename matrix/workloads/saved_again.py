"""Save, load, save, load = as it was loaded first."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, without_device_map
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="saved_again",
        about="the model, and what comes of it when it is saved before use, in shards, loaded, saved and loaded again;"
        " the files say how they are to be read, and the second save has what the first had",
        place=111,
        family=FAMILY,
        phases=(Phase.FORWARD, Phase.SAVE, Phase.LOAD, Phase.PLACE, Phase.FORWARD),
        judged=JUDGED,
        runs=2,
        profiles={
            "quantisers": "architecture=llama,llama_odd,qwen3_tied,qwen3_moe,bert,t5 attention=sdpa"
            " sdpa_kernel=unpinned padding=left device_map=none quantisation=none dtype=float32,bfloat16",
        },
        impossible=without_device_map,
    ),
)
