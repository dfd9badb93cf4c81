"""Weights that wait elsewhere and come in when their module is called."""

import tempfile

from conformance.lab import Lab
from conformance.maps import map_with_last_away, near_and_far
from conformance.models.batches import make_batch
from matrix.axes import Dtype


def qwen3_next_offloaded_decode_garbage(lab: Lab) -> None:
    """Linear attention whose convolution reads its weight without calling its module: right in prefill, then garbage.

    Half of the layers wait on the CPU, or on the disk where there is no GPU.
    """
    batch, dtype = make_batch("generate", "none", 256, 0), Dtype.FLOAT32
    with tempfile.TemporaryDirectory() as folder:
        near, far = near_and_far()
        placed = map_with_last_away(lab.load("qwen3_next", "sdpa", dtype), near, far)
        placed["model.layers.0"] = far
        model = lab.load("qwen3_next", "sdpa", dtype, device_map=placed, offload_folder=folder)
        lab.decode("qwen3_next", model, dtype, batch, tokens=12)


def load_adapter_beside_the_disk(lab: Lab) -> None:
    """`model.load_adapter` where a layer waits on the disk: its part of the adapter is lost, and garbage instead."""
    lab.cell("llama-float32-sdpa-cpu_disk-left-adapter_by_model")


def peft_model_beside_the_disk(lab: Lab) -> None:
    """`PeftModel.from_pretrained` there: it maps the base anew, and wants to move what waits."""
    lab.cell("llama-float32-sdpa-cpu_disk-left-adapter_by_peft")
