"""A training step without the optimiser: logits, and the gradient of each parameter. Scripts carry it along."""

import torch

from conformance.judging.found import TrainingStep
from conformance.models.batches import judged


def run(model, batch, course):
    """Logits in training mode, and gradients."""
    with course.during("forward"):
        logits, gradients = train_step(without_dropout(model), batch)
    return TrainingStep(logits, gradients, batch, judged(batch, logits), again)


def again(model, batch):
    """The same step of a reference."""
    return train_step(without_dropout(model), batch)


def with_labels(batch):
    """The batch with the tokens that a model is to predict, -100 where none is asked for.

    The first token of a padded row is left out: a decoder predicts it at a position that attends to nothing,
    where each implementation has a number of its own.
    """
    if "decoder_input_ids" in batch:
        return {**batch, "labels": batch["decoder_input_ids"]}
    mask = batch["attention_mask"]
    first = mask.bool() & (mask.cumsum(-1) == 1)
    return {**batch, "labels": batch["input_ids"].masked_fill((mask == 0) | first, -100)}


def without_dropout(model):
    """The model in training mode, with every dropout at 0: two runs could not agree otherwise."""
    for module in model.train().modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
    return model


def train_step(model, batch):
    """Logits, and by parameter the gradient of the loss that the model itself computes."""
    model.zero_grad(set_to_none=True)
    with torch.enable_grad():
        output = model(**with_labels(batch))
        output.loss.backward()
    gradients = {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return output.logits.detach(), by_original_name(model, gradients)


def by_original_name(model, gradients):
    """Gradients under the names that parameters had before BetterTransformer fused or moved them.

    Its encoder layers hold weights of their own, and say in `original_layers_mapping` which are which.
    """
    named = dict(gradients)
    for path, module in model.named_modules():
        for ours, originals in getattr(module, "original_layers_mapping", {}).items():
            gradient = named.pop(f"{path}.{ours}", None)
            if gradient is not None:
                originals = originals if isinstance(originals, list) else [originals]
                parts = gradient.chunk(len(originals))
                named |= {f"{path}.{name}": part for name, part in zip(originals, parts, strict=True)}
    return named
