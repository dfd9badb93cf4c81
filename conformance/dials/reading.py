"""What the dials read of a run, over directions that all cells with the same truth share."""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch

from conformance.dials.directions import Directions, directions_of
from conformance.dials.fit import readings
from conformance.judging.found import OneRun, TwoRuns
from conformance.judging.shared import Batch, SharedReferences, forget_beyond
from matrix.dials import Reading, added_up, batches_asked, cause

Found = OneRun | TwoRuns

LESS = 0.5  # times as large as a disagreement; what is so small does not make it


class Reader:
    """Reads runs, and keeps the directions of the last of them, in so many bytes."""

    def __init__(self, most: int = 2**28) -> None:
        self._most = most
        self._made: OrderedDict[tuple[object, ...], Directions | None] = OrderedDict()

    def __call__(self, found: Found, references: SharedReferences, first: Found | None = None) -> tuple[Reading, ...]:
        """How far each dial is off; empty where there are none, and where they speak of something else.

        A generation is read in its steps, by what turning a dial does to one pass over the tokens that it chose.
        `first` is the run whose readings these are to be added to.
        """
        if not _is_logits(found, references):
            return ()
        like = None if first is None else self.directions(references, first.forced)
        directions = self.directions(references, found.forced, like)
        if directions is None or (directions := directions.where(*_places(found, directions.attended))) is None:
            return ()
        baseline, golden = (_picked(found)(references(found.forced, golden=golden)) for golden in (False, True))
        if isinstance(found, OneRun):
            return readings(directions, found.logits, baseline, golden)
        return _why_they_disagree(directions, (found.one, found.other), baseline.cpu(), golden.cpu().double())

    def surely(
        self, found: OneRun, references: SharedReferences, again: Callable[[int], OneRun]
    ) -> tuple[Reading, ...]:
        """The same of as many batches as it takes (`matrix/dials.py`), added up.

        Args:
            found, references: of the run.
            again: the same cell with another batch, numbered from 1.
        """
        batches = [self(found, references)]
        while len(batches) < batches_asked(added_up(batches), references.cell.dtype):
            batches.append(self(again(len(batches)), references, found))
        return added_up(batches)

    def directions(
        self, references: SharedReferences, batch: Batch, like: Directions | None = None
    ) -> Directions | None:
        """What each dial does to golden's logits of a batch, or None (`directions_of`)."""
        key, made = references.key(batch, golden=True), self._made
        if key not in made:
            made[key] = directions_of(references, batch, like)
        made.move_to_end(key)
        # Each time: what turning did is remembered with them.
        forget_beyond(self._most, made, lambda kept: kept.nbytes if kept else 0)
        return made[key]


def _is_logits(found: object, references: SharedReferences) -> bool:
    """Whether these are logits of the model that the references are of, rounded in no way that only a cache rounds."""
    if isinstance(found, OneRun):
        return found.said is None and found.rounding is None and found.truth(references) is references
    return isinstance(found, TwoRuns)


def _picked(found: Found) -> Callable[[torch.Tensor], torch.Tensor]:
    return found.pick if isinstance(found, OneRun) else lambda logits: logits


def _places(found: Found, attended: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which places of a batch its judged logits are of, numbered row by row, and where in them they are judged."""
    numbered = torch.arange(attended.numel()).reshape(*attended.shape, 1)
    return _picked(found)(numbered)[..., 0][found.attended], found.attended


def _why_they_disagree(
    directions: Directions, runs: Iterable[torch.Tensor], baseline: torch.Tensor, golden: torch.Tensor
) -> tuple[Reading, ...]:
    """How the one of two runs that is further from golden differs from the other: what both do wrong is not why.

    Or how it differs from golden, if a dial leaves less of that than they disagree by: a token that must not be seen is
    another one in each of them.
    """

    def distance(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((directions.seen(one) - directions.seen(other)).norm())

    nearer, ours = sorted((run.detach().cpu().double() for run in runs), key=lambda run: distance(run, golden))
    apart = readings(directions, ours - nearer + golden, baseline, golden)
    if cause(apart) is not None:
        return apart
    whole = readings(directions, ours, baseline, golden)
    laid = cause(whole)
    if laid is None or (1 - laid.explains) ** 0.5 * distance(ours, golden) > LESS * distance(ours, nearer):
        return apart
    return whole
