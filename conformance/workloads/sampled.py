"""Sampling. Scripts carry it along."""

import math

import torch

from conformance.decoding import banned_tokens, forced_by, generated, placeholders
from conformance.judging.found import OneRun

SAMPLED_TOKENS = 16
# In the order in which they are applied. Each keeps what is more probable than some token.
TEMPERATURE, TOP_K, TOP_P, MIN_P = 1.5, 40, 0.8, 0.1
# Standard deviations by which the mean surprise of what was drawn may be off: honest draws are so once in 10^9 cells.
DRAWN_OFF = 6.0
# What float32 may lose on the way from a model's own logits to what the filters keep of them, in units of logits.
ROUNDING = 1e-3


def run(model, batch, course):
    """The logits of each step, held against teacher-forced ones, and what the processors and the draw made of them."""
    output, again = sampled(model, batch, course), sampled(model, batch, course)
    logits, scores = (torch.stack(found, dim=1) for found in (output.logits, output.scores))
    chosen = output.sequences[:, -SAMPLED_TOKENS:]
    banned = banned_tokens(model) + placeholders(model, course)
    # Of the same logits the same seed must draw the same; where rounding differs, so may the draw.
    same = (logits == torch.stack(again.logits, dim=1)).all(-1) & (scores == torch.stack(again.scores, dim=1)).all(-1)
    differs = same & (chosen != again.sequences[:, -SAMPLED_TOKENS:])
    made = scores.flatten(0, 1).cpu().double(), chosen.flatten().cpu()
    own = scaled(logits.flatten(0, 1).double(), banned)
    return OneRun(
        "sampled logits",
        logits,
        forced_by(output.sequences, batch, model),
        torch.ones(logits.shape[:2], dtype=torch.bool),
        pick=lambda found: found[:, -SAMPLED_TOKENS:],
        consequences={
            "let in": lambda truth: by_both(let_in, own, scaled(truth, banned), made[0]),
            "left out": lambda truth: by_both(left_out, own, scaled(truth, banned), made[0]),
            "log-probability": lambda truth: by_both(probability_error, own, scaled(truth, banned), *made),
            "draw": lambda truth: math.inf if abs(surprise(*made)) > DRAWN_OFF else 0.0,
            "same seed": lambda truth: math.inf if bool(differs.any()) else 0.0,
        },
        chosen=chosen,
    )


def sampled(model, batch, course):
    """What is drawn with the course's seed. The generators are left as they were."""
    asked = {"temperature": TEMPERATURE, "top_k": TOP_K, "top_p": TOP_P, "min_p": MIN_P}
    with torch.random.fork_rng():
        torch.manual_seed(course.seed)
        return generated(model, batch, course, SAMPLED_TOKENS, do_sample=True, output_scores=True, **asked)


def scaled(truth, banned):
    """True logits of shape (steps, vocabulary) as the temperature leaves them, without what may not be chosen."""
    allowed = truth.cpu().clone()
    allowed[:, banned] = -math.inf
    return allowed / TEMPERATURE


def by_both(error, own, truth, *made):
    """An error by the true logits; infinite where more of it than rounding is left by the model's own.

    Half precision lets logits be off by so much that another filter would pass for the right one.
    """
    return math.inf if error(own, *made) > ROUNDING else error(truth, *made)


def let_in(truth, scores):
    """By how much logits must be off, twice, for the least probable token that was kept to be among the true ones."""
    lowest = truth.masked_fill(scores.isinf(), math.inf).amin(-1, keepdim=True)
    return needed(lambda off: may_be_kept(truth, lowest, off), lowest)


def left_out(truth, scores):
    """By how much they must be, twice, for the most probable token that was not kept to be none of the true ones."""
    highest = truth.masked_fill(~scores.isinf(), -math.inf).amax(-1, keepdim=True)
    return needed(lambda off: may_be_dropped(truth, highest, off), highest)


def needed(holds, places):
    """The largest of the smallest numbers for which it holds, over steps, in units of logits."""
    low, high = torch.zeros_like(places), torch.full_like(places, 1000.0)
    for _ in range(60):
        middle = (low + high) / 2
        held = holds(middle)
        low, high = torch.where(held, low, middle), torch.where(held, middle, high)
    return float(torch.where(holds(torch.zeros_like(places)), 0.0, high).max()) * TEMPERATURE


def may_be_kept(truth, place, off):
    """Whether the filters may keep a token of that scaled logit, where two logits differ by `off` more or less.

    The share of what is above it, of all that top-k keeps, is then larger or smaller by a factor of exp(off) at most.
    Of those that are as probable as the last of top-k all are kept.
    """
    above, most = truth > place + off, truth.amax(-1, keepdim=True)
    mass, kept = (truth - most).exp(), truth >= top_k(truth)[..., -1:] - off
    share = mass.where(above, 0.0).sum(-1, keepdim=True) / mass.where(kept, 0.0).sum(-1, keepdim=True)
    few = above.sum(-1, keepdim=True) < TOP_K
    return few & (share <= TOP_P * off.exp()) & (place + off >= most + math.log(MIN_P))


def may_be_dropped(truth, place, off):
    """Whether the filters may drop it."""
    above, most = truth >= place - off, truth.amax(-1, keepdim=True)
    mass = (truth - most).exp().where(above, 0.0).sum(-1, keepdim=True) - (place - most).exp()
    many = above.sum(-1, keepdim=True) - 1 >= TOP_K
    share = mass / (top_k(truth) - most).exp().sum(-1, keepdim=True)
    return many | (share * off.exp() >= TOP_P) | (place - off < most + math.log(MIN_P))


def top_k(truth):
    """The largest ones, in their order."""
    return truth.topk(min(TOP_K, truth.shape[-1])).values


def probability_error(truth, scores, chosen):
    """How far the log-probabilities of what was drawn are from the true ones over the tokens that were kept.

    In units of logits; infinite where a token was drawn that was not kept.
    """
    own = scores.log_softmax(-1).gather(-1, chosen[:, None])
    true = truth.masked_fill(scores.isinf(), -math.inf).log_softmax(-1).gather(-1, chosen[:, None])
    return math.inf if bool(own.isinf().any()) else float((own - true).abs().max()) * TEMPERATURE


def surprise(scores, chosen):
    """How much less probable the drawn tokens are than draws are on average, in standard deviations of such a mean."""
    logs = scores.log_softmax(-1)
    weights, finite = logs.exp(), logs.masked_fill(logs.isinf(), 0.0)
    usual = (weights * finite).sum(-1)
    variance = (weights * finite.square()).sum(-1) - usual.square()
    return float((usual - finite.gather(-1, chosen[:, None])[:, 0]).sum() / variance.sum().sqrt().clamp_min(1e-30))
