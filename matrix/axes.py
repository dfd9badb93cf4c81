"""The axes whose values are words of the ecosystem; those whose values are rooms have a package each."""

from enum import StrEnum


class Dtype(StrEnum):
    """The dtype given to `from_pretrained`."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class Attention(StrEnum):
    """Every `attn_implementation` that a supported transformers release accepts by name."""

    EAGER = "eager"
    SDPA = "sdpa"
    FLASH_ATTENTION_2 = "flash_attention_2"
    FLASH_ATTENTION_3 = "flash_attention_3"
    FLASH_ATTENTION_4 = "flash_attention_4"
    FLEX_ATTENTION = "flex_attention"


class SdpaKernel(StrEnum):
    """The kernel that `scaled_dot_product_attention` is pinned to; `unpinned` leaves torch the choice."""

    UNPINNED = "unpinned"
    FLASH = "flash"
    MEM_EFFICIENT = "mem_efficient"
    MATH = "math"
    CUDNN = "cudnn"


class Padding(StrEnum):
    """Which side of an uneven batch is padded; `none` is a batch of equal lengths."""

    NONE = "none"
    LEFT = "left"
    RIGHT = "right"
