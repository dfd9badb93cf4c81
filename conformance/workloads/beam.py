"""Beam search with cache. Scripts carry it along."""

import torch
import transformers

from conformance.decoding import forced_by, generated, rounding
from conformance.judging.found import OneRun, at_home

BEAMS, BEAM_TOKENS = 4, 16
LENGTH_PENALTY = 1.0  # the power of the length by which a score is divided


class Prefixes(transformers.LogitsProcessor):
    """Keeps what each beam holds at each step, of shape (rows * beams, tokens), and leaves the scores as they are."""

    def __init__(self):
        self.kept = []

    def __call__(self, input_ids, scores):
        """Called at each step by `generate`."""
        self.kept.append(input_ids.cpu().clone())
        return scores


def run(model, batch, course):
    """The logits of every beam's every step, held against teacher-forced ones, and so is the score of what is returned.

    A beam is told by what it holds, not by the indices that the search hands out: those could be wrong as well.
    """
    prefixes = Prefixes()
    output = generated(
        model,
        batch,
        course,
        BEAM_TOKENS,
        num_beams=BEAMS,
        length_penalty=LENGTH_PENALTY,
        output_scores=True,
        logits_processor=transformers.LogitsProcessorList([prefixes]),
    )
    # Looked at token by token, for which nobody should wait for a GPU.
    output.sequences, output.sequences_scores = output.sequences.cpu(), output.sequences_scores.cpu()
    leaves, rows, places = tree_of(prefixes.kept)
    beams = len(prefixes.kept[0])

    def chunked(listed):
        return [listed[begin : begin + beams] for begin in range(0, len(listed), beams)]

    repeated = {name: tensor[[row for row, _ in leaves]] for name, tensor in at_home(batch).items()}
    # The last token of what is forced is not looked at: it is what a leaf's own logits are asked for.
    padded = [torch.nn.functional.pad(held, (0, output.sequences.shape[1] - len(held))) for _, held in leaves]
    logits = torch.stack(output.logits).flatten(0, 1)[None]
    return OneRun(
        "beam logits",
        logits,
        forced_by(torch.stack(padded), repeated, model),
        torch.ones(logits.shape[:2], dtype=torch.bool),
        pick=lambda found: found[rows, places][None],
        consequences={"score": lambda truth: score_error(truth, prefixes.kept, output)},
        chosen=output.sequences,
        searched=list(zip(chunked(rows), chunked(places), strict=True)),
        rounding=rounding(course, len(prefixes.kept[0][0])),
    )


def tree_of(kept):
    """The beams that no other one continues, and where among them each step's logits are.

    Returns:
        leaves: (row of the batch, tokens) of each.
        rows, places: for each step and beam, in order, the leaf that begins with it and the place of its last token.
    """
    leaves, found = [], {}
    for step in reversed(kept):
        for beam, held in enumerate(step):
            row, tokens = beam // BEAMS, tuple(held.tolist())
            if (row, tokens) not in found:
                found |= {
                    (row, tokens[:end]): (len(leaves), end - 1) for end in range(len(kept[0][0]), len(tokens) + 1)
                }
                leaves.append((row, held))
    where = [found[beam // BEAMS, tuple(held.tolist())] for step in kept for beam, held in enumerate(step)]
    return leaves, [leaf for leaf, _ in where], [place for _, place in where]


def score_error(truth, kept, output):
    """How far the scores that were returned are from those of the true log-probabilities.

    Infinite for a sequence that no beam held. `truth` is of shape (steps * rows * beams, vocabulary).
    """
    beams, begin = len(kept[0]), len(kept[0][0])
    errors = []
    for row, (sequence, score) in enumerate(zip(output.sequences, output.sequences_scores, strict=True)):
        total = torch.zeros((), dtype=truth.dtype, device=truth.device)
        for step, held in enumerate(kept):
            mine = range(row * BEAMS, (row + 1) * BEAMS)
            holding = [beam for beam in mine if torch.equal(held[beam], sequence[: begin + step])]
            if not holding:
                return float("inf")
            total += truth[step * beams + holding[0]].log_softmax(-1)[sequence[begin + step]]
        errors.append(abs(float(score) - float(total) / len(kept) ** LENGTH_PENALTY))
    return max(errors)
