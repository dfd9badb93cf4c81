"""bitsandbytes over several GPUs (G13, G15)."""

import functools
import tempfile
from collections import Counter
from typing import Any

import pytest
import torch
import transformers

from conformance import spellings
from conformance.guide.spelled import bits_and_bytes
from conformance.lab import Lab, Violated, random_tokens
from matrix.guide import Spelling

# Twelve blocks wide enough that each GPU must take some: 75 MB in 4 bits, 150 MB in 8.
_WIDE = {"vocab_size": 1024, "hidden_size": 1024, "n_layer": 12, "n_head": 16}
_WIDE_SIZES = {"load_in_4bit": {0: "40MB", 1: "120MB"}, "load_in_8bit": {0: "80MB", 1: "200MB"}}
# bigscience/bloom-3b.
_BLOOM_3B = {"vocab_size": 250880, "hidden_size": 2560, "n_layer": 30, "n_head": 32}
_UNITS = {"MB": 10**6, "GB": 10**9}


def fp4_auto_over_gpus(lab: Lab, spelling: Spelling) -> None:
    """device_map="auto" in 4 bits where there are several GPUs."""
    _placed(lab, spelling, "load_in_4bit", _WIDE, None)


def fp4_max_memory(lab: Lab, spelling: Spelling) -> None:
    """max_memory in the guide's proportion, scaled to a smaller BLOOM."""
    _placed(lab, spelling, "load_in_4bit", _WIDE, _WIDE_SIZES["load_in_4bit"])


def fp4_max_memory_bloom_3b(lab: Lab, spelling: Spelling) -> None:
    """The guide's own figures on the shape of bloom-3b: 600 MB and 1 GB."""
    _placed(lab, spelling, "load_in_4bit", _BLOOM_3B, {0: "600MB", 1: "1GB"})


def int8_auto_over_gpus(lab: Lab, spelling: Spelling) -> None:
    """device_map="auto" in 8 bits where there are several GPUs."""
    _placed(lab, spelling, "load_in_8bit", _WIDE, None)


def int8_max_memory(lab: Lab, spelling: Spelling) -> None:
    """max_memory in the guide's proportion, scaled to a smaller BLOOM."""
    _placed(lab, spelling, "load_in_8bit", _WIDE, _WIDE_SIZES["load_in_8bit"])


def int8_max_memory_bloom_3b(lab: Lab, spelling: Spelling) -> None:
    """The guide's own figures on the shape of bloom-3b: 1 GB and 2 GB."""
    _placed(lab, spelling, "load_in_8bit", _BLOOM_3B, {0: "1GB", 1: "2GB"})


def _placed(lab: Lab, spelling: Spelling, flag: str, shape: dict[str, int], sizes: dict[int, str] | None) -> None:
    """Placement keeps to the sizes and leaves nothing out, and the logits are those of one GPU.

    Raises:
        Violated: a module without a place, a GPU with more than it was given or with nothing, other logits.
    """
    if torch.cuda.device_count() < 2:  # a worker of xdist sees one GPU
        pytest.skip("needs 2 GPUs in one process: run without -n")
    folder = _checkpoint(tuple(shape.items())).name
    quantised: dict[str, Any] = {flag: True}
    if spelling is not Spelling.GUIDE:
        quantised = {"quantization_config": bits_and_bytes({flag: True}, None)}
    limited = {} if sizes is None else {"max_memory": dict(sizes)}  # accelerate writes its own numbers into it
    from_pretrained = transformers.AutoModelForCausalLM.from_pretrained
    with spellings.default_dtype_kept():
        model = from_pretrained(folder, device_map="auto", use_safetensors=True, **limited, **quantised).eval()
        alone = from_pretrained(folder, device_map={"": 0}, use_safetensors=True, **quantised).eval()
    _must_keep_to(model, sizes)
    tokens = random_tokens(4, 64).to("cuda:0")
    with torch.no_grad():
        first, second = (some(input_ids=tokens).logits.float().cpu() for some in (model, alone))
    difference, scale = float((first - second).abs().max()), float(second.std())
    if not difference <= 1e-2 * scale:
        raise Violated(f"logits differ from those on one GPU by up to {difference:.3g}, their spread is {scale:.3g}")


@functools.cache
def _checkpoint(shape: tuple[tuple[str, int], ...]) -> tempfile.TemporaryDirectory[str]:
    """Random weights of a BLOOM, made on the GPU in 16 bits and saved as safetensors, once in a session."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(transformers.BloomConfig(**dict(shape))).half()
    model = model.to_empty(device="cuda:0")
    model.tie_weights()
    for name, parameter in model.named_parameters():
        parameter.data.normal_(std=0.05)
        if name.endswith("layernorm.weight") or name.endswith("ln_f.weight"):
            parameter.data += 1.0
    folder = tempfile.TemporaryDirectory()
    model.save_pretrained(folder.name, safe_serialization=True)
    return folder


def _must_keep_to(model: Any, sizes: dict[int, str] | None) -> None:
    places = model.hf_device_map
    strangers = {name: str(p.device) for name, p in model.named_parameters() if p.device != _place_of(name, places)}
    if strangers:
        name, device = next(iter(strangers.items()))
        raise Violated(f"{len(strangers)} parameters lie where the device map has them not: {name} on {device}")
    taken: Counter[int] = Counter()
    for parameter in model.parameters():
        taken[parameter.device.index] += _bytes(parameter)
    if set(taken) != {0, 1}:
        raise Violated(f"parameters lie on GPUs {sorted(taken)}, not on both")
    for gpu, size in (sizes or {}).items():
        allowed = int(size[:-2]) * _UNITS[size[-2:]]
        if taken[gpu] > allowed:
            raise Violated(f"GPU {gpu} was given {size} and holds {taken[gpu] / 10**6:.1f} MB of weights")


def _place_of(name: str, places: dict[str, Any]) -> torch.device | None:
    """The device of the innermost entry of a device map that covers a parameter; None if none does."""
    parts = name.split(".")
    for length in range(len(parts), -1, -1):
        place = places.get(".".join(parts[:length]))
        if place is not None:
            return torch.device("cuda", place) if isinstance(place, int) else torch.device(place)
    return None


def _bytes(parameter: torch.nn.Parameter) -> int:
    state = getattr(parameter, "quant_state", None)
    return parameter.nbytes + (state.absmax.nbytes if state is not None else 0)
