"""What a workload found, and how it is held against golden and baseline. Scripts carry it along."""

from functools import cache

import torch

from conformance.judging.comparison import compare, compare_runs, compare_steps, quantisation_cost


def asked(references, forced, dtype):
    """Baseline and golden logits of a batch.

    Raises:
        RuntimeError: golden is no more precise than the cell, or baseline is less.
    """
    baseline, golden = references(forced, golden=False), references(forced, golden=True)
    own, usual, true = (torch.finfo(one) for one in (getattr(torch, dtype), baseline.dtype, golden.dtype))
    if true.bits <= own.bits or usual.eps > own.eps:
        raise RuntimeError(f"golden is in {golden.dtype} and baseline in {baseline.dtype}: no truth of {dtype}")
    return baseline, golden


def at_home(batch):
    """The batch where its rows are taken apart without waiting for a GPU; each model takes it to where it is itself."""
    return {name: value.cpu() if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


class OneRun:
    """Logits of one run, which the truth is to be near to.

    Args:
        name: what they are, in words.
        logits: of shape (batch, positions, vocabulary).
        forced: the batch that the references are given.
        attended: bool, of shape (batch, positions): where they are judged.
        pick: which of a reference's logits are those of the same positions.
        said: what stands in `logits` if it is not logits: the same of a reference's that were picked.
        consequences: what was made of the logits, by name: how far it is off, given the true logits of the attended
            positions, of shape (attended, vocabulary).
        chosen: of a generation the tokens chosen, of shape (batch, positions).
        searched: of a search, whose rows change places, for each call the rows of `forced` and the column of its token.
        rounding: of a cache that rounds, (references, batch) -> the logits of an ordinary run with such a cache, which
            is the baseline then.
    """

    def __init__(
        self,
        name,
        logits,
        forced,
        attended,
        *,
        pick=None,
        said=None,
        consequences=None,
        chosen=None,
        searched=None,
        rounding=None,
    ):
        self.name, self.logits, self.forced, self.attended = name, logits, at_home(forced), attended.cpu()
        self.pick, self.said = pick or (lambda found: found), said
        self.consequences, self.chosen, self.searched = consequences or {}, chosen, searched
        self.rounding = None if rounding is None else cache(lambda references: rounding(references, self.forced))

    def compare(self, references, dtype, quantised, off=0.0):
        """The one comparison; `off` is added to the logits before."""
        if self.chosen is not None and not self.consequences:
            raise RuntimeError("tokens were chosen, and nobody asks whether they are the best")
        references = self.truth(references)
        baseline, golden = asked(references, self.forced, dtype)
        if self.rounding is not None:
            baseline = self.rounding(references)
        baseline, golden, consequences = self.pick(baseline), self.pick(golden), self.consequences
        if self.said is not None:
            logits = golden[self.attended.to(golden.device)].double()
            consequences = {what: lambda _, how=how: how(logits) for what, how in consequences.items()}
            baseline, golden = self.said(baseline), self.said(golden)
        return (
            compare(
                self.name,
                candidate=self.logits + off,
                baseline=baseline,
                golden=golden,
                attended=self.attended,
                dtype=dtype,
                quantised=quantised,
                generated=self.chosen is not None,
                consequences=consequences,
            ),
        )

    def truth(self, references):
        """The references that it is held against: of a model that was changed, others."""
        return references

    def cost(self, references):
        """What quantisation costs: the same logits against those of weights, keys and values as they were."""
        unquantised = self.pick(references.unquantised(self.forced))
        return quantisation_cost(candidate=self.logits, unquantised=unquantised, attended=self.attended)


class TwoRuns:
    """Logits of two runs that must agree, whatever is true; the arguments are those of OneRun."""

    def __init__(self, name, one, other, forced, attended):
        if one.data_ptr() == other.data_ptr():
            raise RuntimeError("a run is held against itself: it would agree with anything")
        self.name, self.one, self.other, self.forced, self.attended = name, one, other, at_home(forced), attended.cpu()

    @property
    def logits(self):
        """Those that are held against the others."""
        return self.other

    def compare(self, references, dtype, quantised, off=0.0):
        """The one comparison, `off` added to one run; golden and baseline say how large rounding is."""
        baseline, golden = asked(references, self.forced, dtype)
        return (
            compare_runs(
                self.name,
                one=self.one,
                other=self.other + off,
                baseline=baseline,
                golden=golden,
                attended=self.attended,
                dtype=dtype,
                quantised=quantised,
            ),
        )

    def cost(self, references):
        """Not measured."""


class TrainingStep:
    """Logits, and gradients by parameter; `again` makes the same step of a reference: (model, batch) -> both."""

    def __init__(self, logits, gradients, forced, attended, again):
        self.logits, self.gradients, self.forced, self.attended, self.again = logits, gradients, forced, attended, again

    def compare(self, references, dtype, quantised):
        """Logits, then gradients."""
        return compare_steps(
            candidate=(self.logits, self.gradients),
            baseline=references.anew(self.forced, self.again, golden=False),
            golden=references.anew(self.forced, self.again, golden=True),
            attended=self.attended,
            dtype=dtype,
        )

    def cost(self, references):
        """Not measured."""
