"""What the dials read of a run, over directions that all cells with the same truth share."""

from collections import OrderedDict
from collections.abc import Callable

from conformance.dials.directions import Directions, directions_of
from conformance.dials.fit import readings
from conformance.judging.found import OneRun
from conformance.judging.shared import Batch, SharedReferences
from matrix.dials import Reading, added_up, batches_asked

_BYTES_KEPT = 256 * 2**20


class Reader:
    """Reads runs, and keeps the directions of the last of them."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[object, ...], Directions | None] = OrderedDict()

    def __call__(self, found: OneRun, references: SharedReferences) -> tuple[Reading, ...]:
        """How far each dial is off; empty where there are none, and where they speak of other positions."""
        directions = self.directions(references, found.forced)
        if directions is None or not directions.attended.equal(found.attended):
            return ()
        baseline, golden = (references(found.forced, golden=golden) for golden in (False, True))
        return readings(directions, found.logits, baseline, golden)

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
            batches.append(self(again(len(batches)), references))
        return added_up(batches)

    def directions(self, references: SharedReferences, batch: Batch) -> Directions | None:
        """What each dial does to golden's logits of a batch, or None (`directions_of`)."""
        key, made = references.key(batch, golden=True), self._made
        if key not in made:
            made[key] = directions_of(references, batch)
            while len(made) > 1 and sum(kept.nbytes for kept in made.values() if kept) > _BYTES_KEPT:
                made.popitem(last=False)
        return made[key]
