"""Each row a batch of its own, its padding kept. Scripts carry it along."""

import torch

from conformance.judging.found import OneRun
from conformance.models.batches import judged, one_row, rows_of, told
from conformance.models.outputs import forward


def run(model, batch, course):
    """Logits at every attended position: a batch of one is where shortcuts are taken that drop a mask."""
    given = told(batch, model, course.source.architecture)
    with course.during("forward"):
        logits = torch.cat([forward(model, one_row(given, row)) for row in range(rows_of(batch))])
    return OneRun("logits", logits, batch, judged(batch, logits))
