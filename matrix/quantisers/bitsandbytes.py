"""bitsandbytes; the compute dtype follows the cell's dtype."""

from typing import Any

from matrix.rooms import Quantisation

QUERIES = ("q_proj", "SelfAttention.q", "attention.self.query")  # what the projections of queries are called


def _format(name: str, place: int, about: str, **known: Any) -> Quantisation:
    return Quantisation(
        name=name,
        about=f"quantised by bitsandbytes to {about}",
        place=place,
        family="bitsandbytes",
        needs=("bitsandbytes", "accelerate"),
        ops=("bitsandbytes",),
        **known,
    )


ROOMS = (
    _format("int8", 10, "int8 (LLM.int8())", module="Linear8bitLt", stored_as="int8"),
    _format("fp4", 20, "fp4, in blocks of 64", module="Linear4bit", stored_as="fp4"),
    _format("nf4", 30, "nf4, in blocks of 64", module="Linear4bit", stored_as="nf4"),
    _format("nf4_double_quant", 40, "nf4 with quantised block scales", module="Linear4bit", stored_as="nf4 nested"),
    _format(
        "nf4_bfloat16_storage",
        50,
        "nf4 that poses as bfloat16, for what shards parameters by dtype",
        module="Linear4bit",
        stored_as="nf4 in bfloat16",
        profiles={},
    ),
    _format(
        "int8_skip",
        60,
        "int8, queries left as they are",
        module="Linear8bitLt",
        stored_as="int8",
        skips=QUERIES,
        profiles={},
    ),
    _format(
        "nf4_skip",
        70,
        "nf4, queries left as they are",
        module="Linear4bit",
        stored_as="nf4",
        skips=QUERIES,
        profiles={},
    ),
)
