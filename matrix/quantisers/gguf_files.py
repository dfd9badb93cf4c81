"""GGUF: files of llama.cpp, which transformers dequantises when it loads them."""

from matrix.architectures import Architecture
from matrix.rooms import Quantisation, Values

_TRIED = "attention=sdpa sdpa_kernel=unpinned padding=left device_map=none dtype=float32,bfloat16 cache=dynamic"
_ALL = "architecture=llama,llama_blocks,llama_uneven,qwen3_tied,qwen3_moe workload=prefill,reload,saved_again"
_GENERATED = "architecture=llama,llama_uneven,qwen3_tied workload=generate"
# What the others are tried with, of one architecture; a tied head is saved, too.
_BY_NAME = (
    f"architecture=llama {_TRIED} workload=prefill,generate,reload,saved_again,cast_saved,adapter_merged_saved",
    f"architecture=qwen3_tied {_TRIED} workload=prefill,saved_again",
)
_WRITTEN = ("llama", "qwen3", "qwen3_moe")  # model_types that conformance/quantisers/gguf_files.py has names for


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if architecture.model_type not in _WRITTEN:
        return f"the suite writes GGUF files of {', '.join(_WRITTEN)} alone"
    return None


def _format(
    name: str, place: int, about: str, tried: tuple[str, ...] = (f"{_ALL} {_TRIED}", f"{_GENERATED} {_TRIED}")
) -> Quantisation:
    return Quantisation(
        name=name,
        about=f"a GGUF file of {about}, dequantised when it is loaded",
        place=place,
        family="gguf_files",
        needs=("gguf", "accelerate"),
        written=True,
        profiles={"quantisers": tried},
        impossible=_impossible,
    )


ROOMS = (
    _format("gguf_q8_0", 400, "Q8_0 (int8, a scale for each 32)"),
    _format("gguf_q5_1", 410, "Q5_1 (5 bits, a scale and a least value for each 32)"),
    _format("gguf_q4_0", 420, "Q4_0 (4 bits, a scale for each 32)"),
    # Asked for by the name of the file alone, as the documentation has it; of the others a GgufConfig says the rest.
    _format("gguf_q8_0_by_name", 430, "Q8_0, given as gguf_file and nothing else", _BY_NAME),
)
