"""One least squares of an error on all directions at once: by how much each dial is off, and how sure that is."""

from dataclasses import dataclass

import torch

from conformance.dials.directions import Directions
from matrix.dials import Reading

FACTOR = 1.0
ROUNDS = 4  # in which a direction is bent to the size that was read
ALIKE = 0.98  # cosine of two directions beyond which nobody can tell which of them it is
REACH = 4.0  # steps up to which a bend is believed


@dataclass(frozen=True)
class Fit:
    """What each direction is turned by, in its dial's unit."""

    values: torch.Tensor  # (directions,)
    bars: torch.Tensor  # (directions,), of one standard error, not calibrated


def readings(
    directions: Directions, candidate: torch.Tensor, baseline: torch.Tensor, golden: torch.Tensor
) -> tuple[Reading, ...]:
    """How far each dial is off in the candidate, less what it is off by in the baseline.

    Both fits are linear, so that their difference is the fit of the difference, and its error bar has the baseline's
    share in it. What a dial explains is a share of the squared error against golden.

    Args:
        directions: of the same batch.
        candidate, baseline, golden: logits of shape (batch, positions, classes).
    """
    ours, eager, truth = (directions.seen(logits) for logits in (candidate, baseline, golden))
    groups = alike(directions)
    found = [directions.found[group[0]] for group in groups]
    if not found or not bool(torch.isfinite(ours - eager).all()):
        return ()
    system = System(directions, [group[0] for group in groups])
    fit = system.fit(ours - eager)
    explains = system.explains(ours - truth)
    read = []
    for group, direction, value, bar, share in zip(
        groups, found, fit.values.tolist(), fit.bars.tolist(), explains, strict=True
    ):
        steps = abs(value) / direction.step
        crooked = min(1.0, (direction.bent * steps) ** 2) + direction.rough
        read.append(
            Reading(
                dial=direction.dial.name,
                unit=direction.dial.knob.unit,
                value=value,
                bar=((FACTOR * bar) ** 2 + (crooked * value) ** 2) ** 0.5,
                explains=share,
                also=tuple(directions.found[other].dial.name for other in group[1:]),
            )
        )
    return tuple(read)


def alike(directions: Directions) -> list[list[int]]:
    """The directions in groups: those of one group do the same to the logits of this fixture, up to a factor."""
    groups: list[list[int]] = []
    for at, one in enumerate(directions.found):
        for group in groups:
            first = directions.found[group[0]]
            if abs(float((first.slope * one.slope).sum() / (first.slope.norm() * one.slope.norm()))) > ALIKE:
                group.append(at)
                break
        else:
            groups.append([at])
    return groups


class System:
    """The normal equations of some directions, block by block of positions; errors come as their right-hand sides."""

    def __init__(self, directions: Directions, chosen: list[int]) -> None:
        found = [directions.found[at] for at in chosen]
        self._steps = torch.tensor([one.step for one in found], dtype=torch.float64)
        self._count, self._blocks = len(found), directions.blocks
        # In steps instead of units, so that all numbers are of one size.
        slopes = [one.slope * one.step for one in found]
        bends = [one.bend * one.step**2 for one in found]
        self._columns = torch.stack([*slopes, *bends], 1)  # (positions, 2 * directions, classes)
        self._gram = self._by_block(self._columns @ self._columns.transpose(1, 2))

    def fit(self, error: torch.Tensor) -> Fit:
        """The joint fit of an error of shape (positions, classes), and its jackknife over blocks of positions."""
        right = self._right(error)
        whole = self._solve(self._gram.sum(0), right.sum(0))
        without = self._solve(self._gram.sum(0) - self._gram, right.sum(0) - right)
        groups = len(right)
        spread = (groups - 1) / groups * (without - without.mean(0)).square().sum(0)
        return Fit(whole * self._steps, spread.sqrt() * self._steps)

    def explains(self, error: torch.Tensor) -> list[float]:
        """What share of the squares of an error each direction explains alone."""
        gram, right = self._gram.sum(0), self._right(error).sum(0)
        size = float(error.square().sum())
        shares = []
        for at in range(self._count):
            own = [at, at + self._count]
            value = self._solve(gram[own][:, own], right[own])
            column = torch.cat([torch.ones(1, dtype=torch.float64), value.clamp(-REACH, REACH)])
            left = size - 2 * value * (column @ right[own]) + value**2 * (column @ gram[own][:, own] @ column)
            shares.append(max(0.0, 1 - float(left) / size) if size else 0.0)
        return shares

    def _right(self, error: torch.Tensor) -> torch.Tensor:
        return self._by_block((self._columns @ error[:, :, None])[..., 0])

    def _by_block(self, of_positions: torch.Tensor) -> torch.Tensor:
        total = of_positions.new_zeros(int(self._blocks.max()) + 1, *of_positions.shape[1:])
        return total.index_add_(0, self._blocks, of_positions)

    def _solve(self, gram: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """The values, in steps, of a system or of many."""
        count = right.shape[-1] // 2
        values = right.new_zeros(*right.shape[:-1], count)
        straight = torch.eye(count, dtype=right.dtype).expand(*values.shape[:-1], count, count)
        for _ in range(ROUNDS):
            bent = torch.cat([straight, torch.diag_embed(values.clamp(-REACH, REACH))], -1)
            own, wanted = bent @ gram @ bent.transpose(-1, -2), (bent @ right[..., None])[..., 0]
            sizes = own.diagonal(dim1=-2, dim2=-1).sqrt().clamp_min(torch.finfo(own.dtype).tiny)
            cosines = own / (sizes[..., None] * sizes[..., None, :])
            inverse = torch.linalg.pinv(cosines, rtol=1e-10, hermitian=True)
            values = (inverse @ (wanted / sizes)[..., None])[..., 0] / sizes
        return values
