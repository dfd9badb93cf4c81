"""One model divided between two processes: under gloo on a CPU, under NCCL where there are two GPUs."""

import pytest

from conformance.lab import Lab


def tensor_parallel_one_kv_head(lab: Lab) -> None:
    """One key/value head that two processes cannot share out."""
    _cell(lab, "llama_one_kv_head-float32-sdpa-tp2-prefill")


def tensor_parallel_4_bit(lab: Lab) -> None:
    """Weights in nf4, whose scales are attributes of theirs."""
    _cell(lab, "llama-bfloat16-sdpa-nf4-tp2-prefill")


def tensor_parallel_8_bit(lab: Lab) -> None:
    """Weights of LLM.int8, the same."""
    _cell(lab, "llama-bfloat16-sdpa-int8-tp2-prefill")


def _cell(lab: Lab, cell_id: str) -> None:
    if lab.device.type == "cuda" and len(lab.stack.gpus) < 2:
        pytest.skip("needs 2 GPUs, or none")
    lab.cell(cell_id)
