"""Checkpoints that are given in a format: what is saved of them, and what is made of how they are marked."""

from conformance.lab import Lab


def fp8_dequantised_and_saved(lab: Lab) -> None:
    """Loaded dequantised, saved and loaded again: the same logits."""
    lab.cell("llama_blocks-bfloat16-sdpa-fp8_dequantised-left-reload")


def fp8_on_a_cpu_and_saved(lab: Lab) -> None:
    """The same where nobody asked for it: without a GPU the library dequantises by itself."""
    lab.cell("llama_blocks-bfloat16-sdpa-fp8-left-reload")


def compressed_tensors_int4_frozen(lab: Lab) -> None:
    """Packed int4 with `quantization_status: frozen`."""
    lab.cell("llama-bfloat16-sdpa-ct_int4_frozen-left-prefill")


def compressed_tensors_fp8_frozen(lab: Lab) -> None:
    """FP8 with `quantization_status: frozen`."""
    lab.cell("llama-bfloat16-sdpa-ct_fp8_frozen-left-prefill")


def compressed_tensors_w8a8_frozen(lab: Lab) -> None:
    """Int8 weights and inputs with `quantization_status: frozen`."""
    lab.cell("llama-bfloat16-sdpa-ct_w8a8_frozen-left-prefill")
