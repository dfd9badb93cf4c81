"""What a saved checkpoint says of itself. Scripts carry it along."""

import json
from pathlib import Path

from safetensors import safe_open

from conformance.models.loading import lacking

INDEX = "model.safetensors.index.json"
# What stands beside a quantised weight, or in its place, by the end of its name.
COMPANIONS = ("weight_scale", "weight_scale_inv", "weight_packed", "weight_global_scale", "weight_zero_point")
COMPANIONS += (".SCB", ".absmax", ".quant_map", "_blocks", "_scales", ":qdata", "._data", "._scale")
PLAIN_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "BOOL")


class SavedWrongly(Exception):
    """Files that do not say how they are to be read."""


def saved_and_loaded(model, course, **how):
    """What save_pretrained, given `how`, and from_pretrained make of a model, and the layout of what was saved.

    Raises:
        SavedWrongly: the files do not say how they are to be read, or lack a parameter.
    """
    with course.folder() as folder:
        with course.during("save"):
            model.save_pretrained(folder, safe_serialization=True, **how)
            wrong = what_is_wrong(folder)
            if wrong:
                raise SavedWrongly("; ".join(wrong))
        saved = layout(folder)
        # A quantised checkpoint says itself how it is quantised.
        twin = course.load(checkpoint=folder, quantised=False)
    if lacking(twin):
        raise SavedWrongly(f"the saved checkpoint lacks {', '.join(lacking(twin)[:5])}")
    return twin, saved


def layout(folder):
    """Dtype and shape of every tensor of a checkpoint, by name."""
    found = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as shard:
            names = shard.keys()  # it is no mapping
            for name in names:
                held = shard.get_slice(name)
                found[name] = (held.get_dtype(), tuple(held.get_shape()))
    return found


def what_is_wrong(folder):
    """What a reader could not tell, or would take for something else, of a saved checkpoint; empty if nothing is."""
    folder, wrong = Path(folder), []
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = layout(folder)
    in_a_format = sorted(
        name for name, (dtype, _) in tensors.items() if dtype not in PLAIN_DTYPES or name.endswith(COMPANIONS)
    )
    method = (config.get("quantization_config") or {}).get("quant_method")
    if in_a_format and not method:
        wrong.append(f"config.json names no method, and there is {in_a_format[0]} {tensors[in_a_format[0]]}")
    if method and not in_a_format:
        wrong.append(f"config.json names {method}, and every tensor is plain")
    index = folder / INDEX
    if index.exists():
        said = json.loads(index.read_text(encoding="utf-8"))
        wrong += _wrong_with_index(folder, said, tensors)
    elif len(list(folder.glob("*.safetensors"))) > 1:
        wrong.append("there are several shards and no index")
    return wrong


def _wrong_with_index(folder, said, tensors):
    if set(said["weight_map"]) != set(tensors):
        wrong = sorted(set(said["weight_map"]) ^ set(tensors))
        yield f"the index and the shards differ in {len(wrong)} tensors, such as {wrong[0]}"
    gone = sorted(name for name in set(said["weight_map"].values()) if not (folder / name).is_file())
    if gone:
        yield f"the index names {gone[0]}, which is not there"
    header = sum(8 + int.from_bytes(path.read_bytes()[:8], "little") for path in folder.glob("*.safetensors"))
    held = sum(path.stat().st_size for path in folder.glob("*.safetensors")) - header
    if said["metadata"]["total_size"] != held:
        yield f"the index promises {said['metadata']['total_size']} bytes, the shards have {held}"
