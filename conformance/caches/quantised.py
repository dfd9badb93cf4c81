"""Quantised caches through `generate`, and what one may cost, in plain torch. Scripts carry it along."""

import torch

from conformance.decoding import RESIDUAL

GROUP = 16  # features under one scale: a head of the fixtures, and no token shares a scale with another
FP8_MAX = 448.0  # of float8_e4m3fn
BITS = {"quantised_quanto4": 4, "quantised_hqq4": 4, "quantised_hqq8": 8}


def generation_arguments(cache):
    """What `generate` is given. The documentation asks for axis 0 with quanto and axis 1 with hqq: by token, both."""
    if cache == "quantised_fp8":
        return {"cache_implementation": "quantized", "cache_config": {"backend": "fp8"}}
    backend, axis = ("quanto", 0) if "quanto" in cache else ("hqq", 1)
    config = {"backend": backend, "nbits": BITS[cache], "axis_key": axis, "axis_value": axis}
    config |= {"q_group_size": GROUP, "residual_length": RESIDUAL}
    return {"cache_implementation": "quantized", "cache_config": config}


def kept(cache, states):
    """Keys or values, rounded to the nearest code between the least and the largest of their group.

    hqq moves its zero points a little and errs less. Under fp8 all of a tensor has one scale.
    """
    if cache == "quantised_fp8":
        scale = states.abs().amax().float() / FP8_MAX
        return ((states.float() / scale).to(torch.float8_e4m3fn).float() * scale).to(states.dtype)
    groups = states.float().reshape(-1, GROUP)
    least, largest = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    scale = ((largest - least) / (2 ** BITS[cache] - 1)).clamp_min(torch.finfo(torch.float32).tiny)
    return (((groups - least) / scale).round() * scale + least).reshape(states.shape).to(states.dtype)
