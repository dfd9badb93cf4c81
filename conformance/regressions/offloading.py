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
