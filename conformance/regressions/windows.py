"""Sliding windows, held against the window's definition instead of eager: a position sees itself and window - 1 before.

One layer, so that what a token reaches is the window. Sequences are ten times as long.
"""

from collections.abc import Iterable

import transformers

from conformance.lab import Lab, Violated
from matrix.axes import Dtype

_WINDOW, _LENGTH, _POSITION = 4, 40, 20


def flash_window_off_by_one(lab: Lab) -> None:
    """The kernel counts its window from 0, the config from 1."""
    model = lab.load("mistral_window_4", lab.flash_attention, Dtype.FLOAT16)
    _must_reach(lab, model, range(_WINDOW))


def qwen2_eager_window_lost(lab: Lab) -> None:
    """In eager, which elsewhere is the reference."""
    _must_reach(lab, lab.load("qwen2_window_4", "eager"), range(_WINDOW))


def mistral_sdpa_window_lost(lab: Lab) -> None:
    """The mask for SDPA was made without the window."""
    _must_reach(lab, lab.load("mistral_window_4", "sdpa"), range(_WINDOW))


def qwen2_sdpa_window_lost(lab: Lab) -> None:
    """The same in Qwen2."""
    _must_reach(lab, lab.load("qwen2_window_4", "sdpa"), range(_WINDOW))


def embedding_gemma_window_wrong(lab: Lab) -> None:
    """A bidirectional window of 8 is half of it on either side, in every implementation."""
    _must_reach_both_ways(lab, "eager", Dtype.FLOAT32)
    _must_reach_both_ways(lab, "sdpa", Dtype.FLOAT32)


def embedding_gemma_flash_window_wrong(lab: Lab) -> None:
    """The same through flash attention, which used the whole window on either side."""
    _must_reach_both_ways(lab, lab.flash_attention, Dtype.FLOAT16)


def _must_reach_both_ways(lab: Lab, attention: str, dtype: Dtype) -> None:
    # Made anew rather than read from the checkpoint: transformers 4.57 halves the window whenever it reads one.
    architecture = lab.source("embedding_gemma").architecture
    config = transformers.AutoConfig.for_model(architecture.model_type, **architecture.config)
    _must_reach(lab, lab.load("embedding_gemma", attention, dtype, config=config), range(-4, 5))


def _must_reach(lab: Lab, model: object, wanted: Iterable[int]) -> None:
    reached = lab.reach(model, _POSITION, _LENGTH)
    if reached != list(wanted):
        raise Violated(f"a token reaches the positions {reached} relative to its own, not {list(wanted)}")
