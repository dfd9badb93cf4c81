"""Each row a batch of its own, its padding kept. Scripts carry it along."""

import torch

from conformance.judging.found import OneRun
from conformance.models.batches import judged, told


def run(model, batch, course):
    """Logits at every attended position: a batch of one is where shortcuts are taken that drop a mask."""
    given = told(batch, model, course.source.architecture)
    with course.during("forward"):
        rows = [
            model(**{name: tensor[row : row + 1] for name, tensor in given.items()}).logits
            for row in range(len(batch["input_ids"]))
        ]
    return OneRun("logits", torch.cat(rows), batch, judged(batch))
