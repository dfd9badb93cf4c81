"""Weights that wait elsewhere and come in when their module is called."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from safetensors import safe_open
from transformers import AutoModelForCausalLM

from conformance.adapters import Lora
from conformance.lab import Lab, Violated
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


def peft_writes_over_its_base(lab: Lab) -> None:
    """`PeftModel.from_pretrained` over a base from a relative path with a layer on the disk: its file is as it was."""
    from peft import PeftModel

    file = Path("base", "model.safetensors")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copytree(lab.source("llama").checkpoint, file.parent)
        before, (near, _) = file.read_bytes(), near_and_far()
        placed = map_with_last_away(lab.load("llama", "sdpa"), near, "disk")
        base = AutoModelForCausalLM.from_pretrained("base", device_map=placed, offload_folder="away")
        adapter = Lora(base, seed=1).write("adapter", "base")
        with contextlib.suppress(NotImplementedError):  # what it says of such a base is a row of its own
            PeftModel.from_pretrained(base, adapter)
        if file.read_bytes() != before:
            with safe_open(file, "pt") as written:
                raise Violated(f"the base's own file was written over: it holds {next(iter(written.keys()))}")
