"""GPTQ and AWQ: checkpoints that gptqmodel reads."""

from matrix.rooms import Quantisation


def _format(name: str, place: int, about: str, *needs: str) -> Quantisation:
    return Quantisation(
        name=name,
        about=f"a checkpoint of {about}, int4 in groups of 32",
        place=place,
        family="gptq_layouts",
        needs=("gptqmodel", *needs),
        stored_as="int4 in groups",
        written=True,
        profiles={
            "quantisers": "architecture=llama,llama_blocks,qwen3_tied,mixtral,opt attention=sdpa sdpa_kernel=unpinned"
            " padding=left device_map=none workload=prefill,generate,reload,saved_again dtype=float16 cache=dynamic",
        },
    )


ROOMS = (
    _format("gptq", 500, "GPTQ", "optimum"),
    _format("awq", 510, "AWQ", "accelerate"),
)
