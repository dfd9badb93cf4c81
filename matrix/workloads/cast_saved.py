"""Cast, save, load = as it was cast."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, without_device_map
from matrix.rooms import Workload

_QUANTISED = "none,int8,nf4,torchao_int8,torchao_float8,torchao_intx4,quanto_int8"
_WRITTEN = "fp8,fp8_dequantised,ct_int4,ct_int8,ct_w8a8,ct_fp8,ct_nvfp4,ct_int4_dequantised,gguf_q8_0"
_TRIED = "sdpa_kernel=unpinned padding=left device_map=none"

ROOMS = (
    Workload(
        name="cast_saved",
        about="the model cast to the dtype by .to(dtype) after it was loaded in another, and what save_pretrained and"
        " from_pretrained make of it",
        place=113,
        family=FAMILY,
        phases=(Phase.LOAD, Phase.PLACE, Phase.TRANSFORM, Phase.FORWARD, Phase.SAVE),
        judged=JUDGED,
        runs=2,
        profiles={
            "quantisers": (
                f"architecture=llama,t5 quantisation={_QUANTISED},{_WRITTEN} attention=sdpa {_TRIED} dtype=bfloat16",
                f"architecture=llama quantisation={_QUANTISED},{_WRITTEN} attention=sdpa {_TRIED} dtype=float32",
                f"architecture=gpt_oss quantisation=none,mxfp4 attention=eager {_TRIED} dtype=float32,bfloat16",
            ),
        },
        impossible=without_device_map,
    ),
)
