"""BetterTransformer, where optimum and transformers still have it."""

from typing import Any

import torch

from conformance.lab import Lab, Violated
from conformance.models.batches import make_batch
from matrix.axes import Dtype


def better_transformer_bert_padding(lab: Lab) -> None:
    """A converted encoder over a padded batch: every row as eager has it."""
    batch = make_batch("prefill", "right", 256, 0)
    _judge_converted(lab, "bert", batch)


def better_transformer_gpt2_without_mask(lab: Lab) -> None:
    """Several rows and no attention_mask."""
    batch = {"input_ids": make_batch("prefill", "none", 256, 0)["input_ids"]}
    _judge_converted(lab, "gpt2", batch)


def better_transformer_gpt2_gradients(lab: Lab) -> None:
    """A converted decoder trains as the original does."""
    truth, eager = (lab.gradients(lab.reference("gpt2", Dtype.FLOAT32, golden=golden)) for golden in (True, False))
    model = _converted(lab.load("gpt2", "eager"))
    with lab.seeded(model):
        found = lab.gradients(model)
    lab.judge(
        "gradients",
        candidate=found,
        baseline=eager,
        golden=truth,
        attended=torch.ones(truth.shape[:2], dtype=torch.bool),
        dtype=Dtype.FLOAT32,
        gradients=True,
    )


def better_transformer_bert_default_sdpa(lab: Lab) -> None:
    """BERT as it is loaded by default, which is with SDPA: converted rightly, or refused."""
    converted = _converted(lab.load("bert", "sdpa"))
    batch = make_batch("prefill", "right", 256, 0)
    difference = lab.logits(converted, batch) - lab.logits(lab.load("bert", "eager"), batch)
    worst = float(difference[batch["attention_mask"].bool()].abs().max())
    if not worst < 1e-3:
        raise Violated(f"logits differ from eager's by up to {worst:.3g}")


def _judge_converted(lab: Lab, name: str, batch: dict[str, torch.Tensor]) -> None:
    dtype = Dtype.FLOAT32
    lab.judge(
        f"logits of a converted {name}",
        candidate=lab.logits(_converted(lab.load(name, "eager", dtype)), batch),
        baseline=lab.reference_logits(lab.reference(name, dtype, golden=False), batch),
        golden=lab.reference_logits(lab.reference(name, dtype, golden=True), batch),
        attended=batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool(),
        dtype=dtype,
    )


def _converted(model: Any) -> Any:
    from optimum.bettertransformer import BetterTransformer

    return BetterTransformer.transform(model)
