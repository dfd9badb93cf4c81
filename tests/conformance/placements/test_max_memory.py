"""Uneven memory."""

from pathlib import Path

import torch

from tests.rooms import must_hold


def test_a_part_of_the_model_lies_elsewhere(cache: Path) -> None:
    evidence = must_hold("llama-bfloat16-sdpa-max_memory-left-prefill", cache).evidence
    assert len({*(evidence.hf_device_map or {}).values()}) == 2
    assert torch.cuda.is_available() or 0 < evidence.placement["meta"] < sum(evidence.placement.values())
