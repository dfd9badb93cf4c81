"""torchao. Its weights are tensors of their own kind in ordinary linear modules."""

from matrix.rooms import Quantisation

ROOMS = (
    Quantisation(
        name="torchao_int8",
        about="quantised by torchao to int8, weights only, a scale for each row",
        place=100,
        family="torchao",
        needs=("torchao",),
        stored_as="Int8Tensor by row",
        placed_first=True,
        profiles={
            "smoke": "architecture=llama,bert,t5,opt attention=eager,sdpa sdpa_kernel=unpinned padding=left"
            " device_map=none workload=prefill,generate",
            "pairwise": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned workload=prefill,generate"
            " device_map=none,auto",
        },
    ),
)
