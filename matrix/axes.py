"""The axes of the matrix and their values, spelled as the ecosystem spells them."""

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

    @property
    def sdp_backend(self) -> str | None:
        """Its name in `torch.nn.attention.SDPBackend`; None for `unpinned`."""
        return _SDP_BACKEND.get(self)


_SDP_BACKEND = {
    SdpaKernel.FLASH: "FLASH_ATTENTION",
    SdpaKernel.MEM_EFFICIENT: "EFFICIENT_ATTENTION",
    SdpaKernel.MATH: "MATH",
    SdpaKernel.CUDNN: "CUDNN_ATTENTION",
}


class Quantisation(StrEnum):
    """bitsandbytes weight formats; the compute dtype follows the cell's dtype."""

    NONE = "none"
    INT8 = "int8"
    FP4 = "fp4"
    NF4 = "nf4"
    NF4_DOUBLE_QUANT = "nf4_double_quant"


class Transformation(StrEnum):
    """What is done to the loaded model before it runs."""

    NONE = "none"
    BETTER_TRANSFORMER = "better_transformer"  # model.to_bettertransformer()


class DeviceMap(StrEnum):
    """Where the weights go."""

    NONE = "none"  # no device_map; the model is moved to the device after loading
    GPU0 = "gpu0"  # {"": 0}
    AUTO = "auto"  # "auto"
    CPU_OFFLOAD = "cpu_offload"  # everything on GPU 0 but the last block of each stack, which waits on the CPU


class Padding(StrEnum):
    """Which side of an uneven batch is padded; `none` is a batch of equal lengths."""

    NONE = "none"
    LEFT = "left"
    RIGHT = "right"


class Workload(StrEnum):
    """What is done with the loaded model."""

    PREFILL = "prefill"  # one forward pass
    GENERATE = "generate"  # greedy decoding with cache
    TRAIN = "train"  # a forward pass with labels and its gradients
    # Relations: two runs of the candidate that must agree.
    PADDING_INVARIANCE = "padding_invariance"  # a padded batch = each row alone
    BATCH_PERMUTATION = "batch_permutation"  # the rows in another order
    CAUSALITY = "causality"  # other tokens at the end change nothing before them
    STEPWISE = "stepwise"  # token by token with cache = one forward pass
    CHUNKED_PREFILL = "chunked_prefill"  # in chunks with cache = one forward pass
    STATIC_CACHE = "static_cache"  # StaticCache with slots to spare = DynamicCache
    PLACEMENT_INVARIANCE = "placement_invariance"  # with the device_map = without
    RELOAD = "reload"  # run, save, load = run

    @property
    def is_relation(self) -> bool:
        """Whether two runs of the candidate are held against each other."""
        return self not in (Workload.PREFILL, Workload.GENERATE, Workload.TRAIN)


# Order is the order of a cell id, and the order in which a plan is sorted: what is expensive to
# change (the architecture, then the weights) comes first, so that caches stay warm.
AXES: dict[str, type[StrEnum]] = {
    "dtype": Dtype,
    "attention": Attention,
    "sdpa_kernel": SdpaKernel,
    "quantisation": Quantisation,
    "transformation": Transformation,
    "device_map": DeviceMap,
    "padding": Padding,
    "workload": Workload,
}
