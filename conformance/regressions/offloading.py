"""Weights that wait elsewhere and come in when their module is called."""

import tempfile

from conformance.lab import Lab
from conformance.models.batches import make_batch
from conformance.placements.cpu_offload import offload_map
from matrix.axes import Dtype


def qwen3_next_offloaded_decode_garbage(lab: Lab) -> None:
    """Linear attention whose convolution reads its weight without calling its module: right in prefill, then garbage.

    Half of the layers wait on the CPU, or on the disk where there is no GPU.
    """
    batch, dtype = make_batch("generate", "none", 256, 0), Dtype.FLOAT32
    with tempfile.TemporaryDirectory() as folder:
        near, far = (0, "cpu") if lab.device.type == "cuda" else ("cpu", "disk")
        placed = offload_map(lab.load("qwen3_next", "sdpa", dtype))
        placed = {name: far if place == "cpu" else near for name, place in placed.items()}
        placed["model.layers.0"] = far
        model = lab.load("qwen3_next", "sdpa", dtype, device_map=placed, offload_folder=folder)
        lab.decode("qwen3_next", model, dtype, batch, tokens=12)
