"""Dequantise, save, load = the dequantised weights."""

from matrix.architectures import Architecture
from matrix.axes import Padding
from matrix.observation import Phase
from matrix.rooms import Values, Workload


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.quantisation == "none":
        return "there is nothing to dequantise"
    if cell.padding is Padding.RIGHT or cell.device_map != "none":
        return "what is saved of it follows neither from padding nor from a device_map"
    return None


_TRIED = "sdpa_kernel=unpinned padding=left device_map=none"
_BITSANDBYTES = "int8,int8_skip,fp4,nf4,nf4_double_quant,nf4_bfloat16_storage,nf4_skip"
_OTHERS = "torchao_int8,quanto_int8,fp8,fp8_dequantised,ct_int4,ct_fp8,ct_int4_dequantised,gguf_q8_0,gguf_q8_0_by_name"

ROOMS = (
    Workload(
        name="dequantised_saved",
        about="what save_pretrained and from_pretrained make of the model after dequantize()",
        place=112,
        phases=(Phase.TRANSFORM, Phase.SAVE, Phase.LOAD, Phase.PLACE, Phase.FORWARD),
        judged="the logits of all attended positions are judged against the dequantised weights",
        dequantises=True,
        profiles={
            "quantisers": (
                f"architecture=llama,opt,mixtral,bert,t5 quantisation={_BITSANDBYTES} attention=sdpa {_TRIED}"
                " dtype=bfloat16",
                f"architecture=llama quantisation={_BITSANDBYTES} attention=sdpa {_TRIED} dtype=float32",
                # The others refuse, each in one place.
                f"architecture=llama quantisation={_OTHERS} attention=sdpa {_TRIED} dtype=bfloat16",
                f"architecture=gpt_oss quantisation=mxfp4,mxfp4_dequantised attention=eager {_TRIED} dtype=bfloat16",
            ),
        },
        impossible=_impossible,
    ),
)
