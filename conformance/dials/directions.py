"""What each dial does to golden's logits, per unit: finite differences, made once for a fixture and a batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from conformance.dials.catalogue import DIALS, Dial, Model
from conformance.dials.golden import Golden, Remembered, Turn, Turning
from conformance.dials.projections import PROJECTED
from conformance.dials.weights import dials_of_weights
from conformance.judging.shared import Batch, SharedReferences
from conformance.models.batches import rows_of, told
from matrix.architectures import Architecture
from matrix.axes import Attention
from matrix.dialled import has_dials
from matrix.stack import Device

BLOCK = 8  # positions of one row that are left out together
BENT = 0.1  # of its length a direction may change from one step to two; else the step is too long
# Of a step that was short enough: over it a direction changes a quarter as much. Of 49 directions of five architectures
# in float32, against float64 and a sixteenth of the step, one such turn is off by 5 % of its length at most (padding,
# others by 2 %), and two longer ones together by 15 % (padding, others by 4 %).
SHORT = 1 / 4
SMALLEST = 1 / 8  # of a dial's step, which is halved so far at most
# Of its length; what changes by more even then is rounding, or saturated (0.5): where the next token's score is far
# above a token's own, 0.003 % of its weight moves logits as much as 1 % does. Such a dial is looked for in what is far
# off alone.
ROUGH = 0.4


@dataclass(frozen=True, eq=False)
class Direction:
    """How one dial moves the logits: by x units to the first order x * slope, to the second x * x * bend more."""

    dial: Dial
    step: float  # by which it was turned, and by twice as much
    slope: torch.Tensor  # (positions, classes), logits per unit
    bend: torch.Tensor  # (positions, classes), logits per unit squared
    bent: float  # by what share of its length the direction changes over one step
    at: float = 0.0  # by how much the dial is turned where the slope is taken
    call: int | None = None  # of attention, which alone is turned


@dataclass(frozen=True, eq=False)
class Directions:
    """Those of one fixture, dtype and batch."""

    found: tuple[Direction, ...]
    attended: torch.Tensor  # bool, (batch, positions): where they are judged
    groups: tuple[torch.Tensor, ...]  # int64, (judged positions,) each: their blocks, and their rows, from 0
    stride: int  # each so many-th class was looked at
    golden: Remembered  # what turning dials does to the logits where golden was looked at
    calls: int  # of attention in a forward pass
    explaining: tuple[Dial, ...] = ()  # the model's that only explain, which are turned where something is far off
    places: torch.Tensor | None = None  # int64, (judged positions,): which of golden's these are; None for all

    def seen(self, logits: torch.Tensor) -> torch.Tensor:
        """What they speak of: of logits of shape (batch, positions, classes) those of shape (judged, looked at)."""
        return logits.detach().cpu()[self.attended][:, :: self.stride].double()

    def turned(self, turns: Iterable[Turn]) -> Iterator[torch.Tensor]:
        """By how much each of them moves the logits, of shape (judged, looked at), in the order in which they come."""
        moves = self.golden(turns)
        return moves if self.places is None else (moved[self.places] for moved in moves)

    def where(self, places: torch.Tensor, attended: torch.Tensor) -> "Directions | None":
        """The same of these places alone, in this order; None where golden was not looked at in one of them.

        Args:
            places: int64, (judged,), of a batch's positions, numbered row by row.
            attended: bool, (batch, positions) of the logits that will be read: where these places are judged in them.
        """
        numbers = torch.full(self.attended.shape, -1)
        numbers[self.attended] = torch.arange(int(self.attended.sum()))
        at = numbers.flatten()[places]
        if bool((at < 0).any()):
            return None
        if self.attended.equal(attended) and bool((at.diff() > 0).all()):
            return self
        found = tuple(replace(one, slope=one.slope[at], bend=one.bend[at]) for one in self.found)
        return replace(
            self,
            found=tuple(one for one in found if bool(one.slope.any())),
            attended=attended,
            groups=tuple(torch.unique(group[at], return_inverse=True)[1] for group in self.groups),
            places=at if self.places is None else self.places[at],
        )

    @property
    def nbytes(self) -> int:
        """What keeping them takes."""
        return sum(one.slope.nbytes + one.bend.nbytes for one in self.found) + self.golden.nbytes


def directions_of(references: SharedReferences, batch: Batch, like: Directions | None = None) -> Directions | None:
    """What each dial does to golden's logits of a batch.

    None where there are none to read, of checkpoints of the user's, and of a single row, of which no error bar could be
    told. Where golden does not answer through SDPA, they are those of what it projects. `like` are those of another
    batch.
    """
    architecture, cell = references.source.architecture, references.cell
    has = has_dials(cell, architecture, Device(references.device.type))
    asked = has and not references.source.own and rows_of(batch) > 1
    if not asked:
        return None
    model, dials = references.model(True), PROJECTED
    if getattr(model, "_supports_sdpa", False):
        model, dials = references.model(True, Attention.SDPA), DIALS
    suited = [dial for dial in dials.values() if dial.suits(model)] + dials_of_weights(references, model)
    return directions(model, batch, architecture, cell.dtype, suited, like) if suited else None


def directions(
    model: Model,
    batch: Mapping[str, torch.Tensor],
    architecture: Architecture,
    dtype: str,
    dials: Sequence[Dial],
    like: Directions | None = None,
) -> Directions:
    """The directions of dials that move anything, and the farther the more they are turned; what else moves explains.

    Args:
        model: golden's weights in golden's dtype, loaded with `sdpa` where it can be.
        batch: as the candidate sees it, padding included: on rows alone a leak to padding would have no meaning.
        architecture: of the model.
        dtype: of the cell.
        dials: that the model has.
        like: those of another batch of the same kind, of which these are to be a part.
    """
    golden = Golden(model, told(batch, model, architecture), dtype)
    if like is None:
        near = however_bent([dial for dial in dials if not dial.explains_only], golden.turned)
        found = [one for one in near if one.bent <= ROUGH]
        rough = [one.dial for one in near if one.bent > ROUGH]
        explaining = (*rough, *(dial for dial in dials if dial.explains_only))
    else:
        found, explaining = once_more(like.found, golden.turned), like.explaining
    groups = blocks(golden.attended), rows(golden.attended)
    known = Remembered(golden.turned)  # of what is far off: those of the directions would double what these take
    return Directions(tuple(found), golden.attended, groups, golden.stride, known, golden.calls, explaining)


def however_bent(dials: Sequence[Dial], turned: Turning) -> list[Direction]:
    """The directions of those dials that move anything."""
    steps = turned(Turn(dial, times * dial.step) for dial in dials for times in (2, 1))
    moved = zip(dials, steps, steps, strict=True)  # by two steps and by one
    found = (_direction(dial, twice / (2 * dial.step), once / dial.step, turned) for dial, twice, once in moved)
    return [direction for direction in found if direction is not None]


def once_more(known: Iterable[Direction], turned: Turning) -> list[Direction]:
    """The same directions in another batch: how much they bend is known, so that one short turn of each is enough."""
    turns = [Turn(one.dial, SHORT * one.step) for one in known]
    found = zip(known, turns, turned(turns), strict=True)
    return [
        Direction(turn.dial, turn.by, moved / turn.by, torch.zeros_like(moved), SHORT * one.bent)
        for one, turn, moved in found
        if bool(moved.any()) and bool(torch.isfinite(moved).all())
    ]


def _direction(dial: Dial, twice: torch.Tensor, once: torch.Tensor, turned: Turning) -> Direction | None:
    """The direction of a dial at the longest step at which it is straight enough, or None if it moves nothing.

    Args:
        dial: whose it is.
        twice, once: what it does per unit where it is turned by two steps and by one.
        turned: for shorter ones.
    """
    step = dial.step
    while True:
        length = float(once.norm())
        if length == 0 or not bool(torch.isfinite(once).all()):
            return None
        bent = float((twice - once).norm()) / length
        if bent <= BENT or step <= SMALLEST * dial.step:
            break
        step, twice = step / 2, once
        (moved,) = turned([Turn(dial, step)])
        once = moved / step
    bend = (twice - once) / step
    return Direction(dial, step, once - step * bend, bend, bent)


def blocks(attended: torch.Tensor) -> torch.Tensor:
    """The block of each judged position, numbered from 0: so many neighbours of one row; int64, (judged positions,)."""
    places, columns = attended.nonzero(as_tuple=True)
    begins = attended.long().argmax(-1)
    longest = attended.shape[1] // BLOCK + 1
    return torch.unique(places * longest + (columns - begins[places]) // BLOCK, return_inverse=True)[1]


def rows(attended: torch.Tensor) -> torch.Tensor:
    """The row of each judged position, of those that have any; int64, (judged positions,)."""
    return torch.unique(attended.nonzero()[:, 0], return_inverse=True)[1]
