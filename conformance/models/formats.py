"""Checkpoints in a format of quantised weights, as its producers publish them, made from plain ones.

Beside each lies its twin: the same weights dequantised, in plain numbers. What a format means is written down twice in
its quantiser's half, as `write` packs it and as it is read back there for the twin, and the library has no part in
either. Scripts carry it along.
"""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

FORMATTED, TWIN = "quantised", "twin"
_EXPERT = re.compile(r"\.experts\.\d+\.[\w.]+\.weight$")
SHARDS = 2


def in_format(cell, source, does, make_empty):
    """The folder that holds the cell's checkpoint in its format (`FORMATTED`) and dequantised (`TWIN`).

    It is made on first use, aside, and renamed into place: whoever comes second finds it whole.
    """
    target = Path(source.formats) / f"{Path(source.checkpoint).name}-{cell.quantisation}-{cell.dtype}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=target.parent, prefix=".building-"))
        try:
            for part in (FORMATTED, TWIN):
                (building / part).mkdir()
            does.write(cell.quantisation, Plain(source.checkpoint, make_empty(), getattr(torch, cell.dtype)), building)
            os.rename(building, target)
        except OSError:
            if not target.is_dir():  # another worker was first, or the disk is at fault
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return target


class Plain:
    """A checkpoint that is to be quantised.

    `tensors` are all of its own, by name; `chosen` names those that a producer quantises: the weights of linear modules
    and of experts, but for the output embedding and what the library keeps in float32; `left` the linear modules that
    stay as they are. What is not chosen is held in `dtype`, as a published checkpoint has it.
    """

    def __init__(self, folder, empty, dtype):
        self.folder, self.dtype, self.empty = Path(folder), dtype, empty
        found = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            found |= load_file(path)
        chosen = set(quantised_modules(empty))
        self.chosen = sorted(
            name
            for name, tensor in found.items()
            if tensor.ndim == 2 and (name.removesuffix(".weight") in chosen or _EXPERT.search(name))
        )
        linear = {name for name, module in empty.named_modules() if isinstance(module, torch.nn.Linear)}
        self.left = sorted(linear - chosen)
        if not self.chosen:
            raise RuntimeError("the checkpoint has no linear module to quantise")
        self.tensors = {
            name: tensor.float() if name in self.chosen or not tensor.is_floating_point() else tensor.to(dtype)
            for name, tensor in found.items()
        }
        self.config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))


def quantised_modules(model):
    """The names of the linear modules that a producer quantises."""
    head = model.get_output_embeddings()
    kept = [*(getattr(model, "_keep_in_fp32_modules", None) or ())]
    return [
        name
        for name, module in model.named_modules()
        if type(module) is torch.nn.Linear and module is not head and not set(kept) & set(name.split("."))
    ]


def write_both(plain, folder, pack, unpack, quantization_config):
    """Write a checkpoint and its twin, both in shards.

    `pack(weight)` gives the tensors that stand for a float32 weight, by what takes the place of `weight` in its name;
    `unpack(tensors)` the float32 weight that they mean.
    """
    quantised, twin = {}, {}
    for name, tensor in plain.tensors.items():
        if name not in plain.chosen:
            quantised[name] = tensor
            twin[name] = tensor.float() if tensor.is_floating_point() else tensor
            continue
        parts = pack(tensor)
        owner = name.removesuffix("weight")
        quantised |= {f"{owner}{part}": value for part, value in parts.items()}
        twin[name] = unpack(parts)
    write_checkpoint(folder / TWIN, plain, twin, {})
    write_checkpoint(folder / FORMATTED, plain, quantised, {"quantization_config": quantization_config})


def write_checkpoint(folder, plain, tensors, more):
    """Shards, their index, and the config with `more` in it."""
    names = [f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors" for shard in range(SHARDS)]
    where = {name: names[number % SHARDS] for number, name in enumerate(sorted(tensors))}
    for shard in names:
        held = {name: tensors[name].contiguous() for name, file in where.items() if file == shard}
        save_file(held, folder / shard, metadata={"format": "pt"})
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(plain.config | more, indent=1), encoding="utf-8")
    generation = plain.folder / "generation_config.json"
    if generation.exists():
        shutil.copy(generation, folder)
