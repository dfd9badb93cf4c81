"""float16 where activations are large: what fits into bfloat16 and float32 must not become NaN."""

from typing import Any

import torch

from conformance.lab import Lab
from conformance.models.batches import make_batch
from matrix.axes import Dtype


def opt_float16_left_padding_nan(lab: Lab) -> None:
    """Two masks added up to -inf for the padded rows of a left-padded batch."""
    lab.cell("opt-float16-eager-left-prefill")
    lab.cell("opt-float16-eager-left-generate")


def gpt_neox_float16_scores_overflow(lab: Lab) -> None:
    """Queries times keys beyond 65504 before they are scaled."""
    _judge_loud(lab, "gpt_neox", ("query_key_value",), 56.0)


def gpt_neo_float16_scores_overflow(lab: Lab) -> None:
    """GPT-Neo does not scale its scores at all."""
    _judge_loud(lab, "gpt_neo", ("q_proj", "k_proj"), 96.0)


def t5_float16_feed_forward_overflow(lab: Lab) -> None:
    """Feed-forward outputs beyond 65504, as the large T5s have them."""
    _judge_loud(lab, "t5", ("wo",), 3e5)


def _judge_loud(lab: Lab, name: str, loud: tuple[str, ...], factor: float) -> None:
    """float16 against float32, allowed twice the error of bfloat16, with some weights made louder by a factor."""
    batch = make_batch("prefill", "left", 256, 0, decoder_tokens=12 if name == "t5" else 0)
    attended = batch["attention_mask"].bool() if name != "t5" else torch.ones(4, 12, dtype=torch.bool)
    truth = lab.reference_logits(_louder(lab.reference(name, Dtype.FLOAT16, golden=True), loud, factor), batch)
    coarse = lab.reference_logits(_louder(lab.reference(name, Dtype.BFLOAT16, golden=False), loud, factor), batch)
    found = lab.logits(_louder(lab.load(name, "eager", Dtype.FLOAT16), loud, factor), batch)
    lab.judge(
        f"{name} float16 logits with {', '.join(loud)} times {factor:g}",
        candidate=found,
        baseline=coarse,
        golden=truth,
        attended=attended,
        dtype=Dtype.FLOAT16,
    )


def _louder(model: Any, loud: tuple[str, ...], factor: float) -> Any:
    for name, parameter in model.named_parameters():
        if name.split(".")[-2] in loud:
            parameter.data.mul_(factor)
    return model
