"""Adapters on quantised models (G6)."""

import tempfile
from typing import Any

import torch
import transformers

from conformance.guide.spelled import load
from conformance.judging.comparison import compare_steps
from conformance.judging.precision import without_tf32
from conformance.lab import Lab, Violated
from conformance.models.batches import make_batch
from conformance.models.loading import load_reference
from conformance.rooms import doing
from conformance.workloads.train import train_step, with_labels, without_dropout
from matrix import oracle
from matrix.axes import Dtype
from matrix.cell import Cell, make_cell
from matrix.guide import Spelling

_STEPS = 8
_LEARNING_RATE = 5e-3


def lora(lab: Lab, spelling: Spelling) -> None:
    """A LoRA on a model in 16 bits, through SDPA."""
    _trains(lab, spelling, "sdpa", "none")


def lora_4bit(lab: Lab, spelling: Spelling) -> None:
    """A LoRA on a model in 4 bits, through SDPA."""
    _trains(lab, spelling, "sdpa", "fp4")


def lora_4bit_flash(lab: Lab, spelling: Spelling) -> None:
    """The guide's recipe: a LoRA on a model in 4 bits, through FlashAttention-2."""
    _trains(lab, spelling, lab.flash_attention, "fp4")


def trained_without_adapter(lab: Lab, spelling: Spelling) -> None:
    """A purely quantised model cannot be trained."""
    model = load(lab, "llama", spelling, dtype=Dtype.BFLOAT16, quantisation="fp4")
    with tempfile.TemporaryDirectory() as folder:
        transformers.Trainer(model=model, args=transformers.TrainingArguments(output_dir=folder, report_to=[]))


def _trains(lab: Lab, spelling: Spelling, attention: str, quantisation: str) -> None:
    """Loss and gradients against eager attention; then real steps, after which only the adapter is another.

    Raises:
        Violated: gradients too far from the truth, a loss that does not fall, a base weight that changed, or an
            adapter that is another one after saving and loading.
    """
    dtype = Dtype.BFLOAT16

    def base() -> Any:
        return load(lab, "llama", spelling, attention=attention, dtype=dtype, quantisation=quantisation)

    batch = {name: tensor.to(lab.device) for name, tensor in make_batch("prefill", "left", 256, 0).items()}
    model = _with_adapter(base())
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    with lab.seeded(model):
        cell = make_cell("llama", dtype=dtype, attention="eager", quantisation=quantisation)
        _must_have_right_gradients(lab, model, batch, cell)
        losses = _train(model, batch)
    if not losses[-1] < 0.9 * losses[0]:
        raise Violated(f"the loss does not fall: {losses[0]:.4f}, {_STEPS} steps later {losses[-1]:.4f}")
    changed = [name for name, p in model.named_parameters() if name in frozen and not torch.equal(p, frozen[name])]
    if changed:
        raise Violated(f"training changed {len(changed)} weights of the base model, {changed[0]} among them")
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = base()
        again.load_adapter(folder)
    _must_agree(lab.logits(model, batch), lab.logits(again, batch), batch["attention_mask"].bool())


def _with_adapter(model: Any, adapter: dict[str, torch.Tensor] | None = None) -> Any:
    """The guide's `LoraConfig(r=8, task_type="CAUSAL_LM")` through `add_adapter`, with the weights of a given one.

    B is drawn too: with peft's B = 0 the adapter would change nothing, and A would have no gradient.
    """
    from peft import LoraConfig

    torch.manual_seed(3)
    model.add_adapter(LoraConfig(r=8, task_type="CAUSAL_LM", init_lora_weights=False))
    for name, parameter in model.named_parameters():
        if "lora_" in name and adapter is not None:
            parameter.data = adapter[name].detach().to(parameter.device, parameter.dtype).clone()
        parameter.requires_grad_("lora_" in name)
    return model


def _must_have_right_gradients(lab: Lab, model: Any, batch: dict[str, torch.Tensor], cell: Cell) -> None:
    adapter = {name: p for name, p in model.named_parameters() if "lora_" in name}
    kept = next(iter(adapter.values())).dtype  # peft may keep adapters in float32 beside a model in 16 bits
    logits, gradients = train_step(without_dropout(model), batch)
    found = []
    for golden in (False, True):
        reference = load_reference(cell, lab.source(cell.architecture), doing(cell), lab.device, golden=golden)
        reference = without_dropout(_with_adapter(reference, adapter))
        for name, parameter in reference.named_parameters():
            if "lora_" in name and not golden:
                parameter.data = parameter.data.to(kept)
        with without_tf32():
            found.append(train_step(reference, batch))
    (eager, eager_gradients), (truth, true_gradients) = found
    comparisons = compare_steps(
        candidate=(logits.to(eager.dtype), gradients),
        baseline=(eager, eager_gradients),
        golden=(truth, true_gradients),
        attended=batch["attention_mask"].bool(),
        dtype=cell.dtype,
        quantised=cell.quantisation != "none",
    )
    problems = [problem for comparison in comparisons for problem in oracle.problems(comparison)]
    if problems:
        raise Violated("; ".join(problems))


def _train(model: Any, batch: dict[str, torch.Tensor]) -> list[float]:
    """The loss before each of some steps of AdamW, and after the last."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=_LEARNING_RATE)
    losses = []
    for _ in range(_STEPS + 1):
        optimiser.zero_grad()
        loss = model(**with_labels(batch)).loss
        loss.backward()
        losses.append(float(loss))
        if len(losses) <= _STEPS:
            optimiser.step()
    return losses


def _must_agree(first: torch.Tensor, second: torch.Tensor, attended: torch.Tensor) -> None:
    difference = float((first - second)[attended].float().abs().max())
    if not difference <= 1e-2 * float(first[attended].float().abs().max()):
        raise Violated(f"with the adapter saved and loaded the logits differ by up to {difference:.3g}")
