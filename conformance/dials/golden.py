"""Golden with dials turned: what that does to its logits. Many are turned in one pass, each in rows of its own."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import NamedTuple

import torch

from conformance.dials.catalogue import Dial, Model, Turned, answered, counted
from conformance.faults.catalogue import Attend
from conformance.judging.precision import exactly
from conformance.judging.shared import forget_beyond
from conformance.models.batches import judged, others, rows_of
from conformance.models.outputs import forward
from conformance.spellings import text_config

NUMBERS = 250_000  # of logits to a direction: of a large vocabulary each so many-th class, for all dials alike
AT_ONCE = 2**24  # numbers, of logits or of scores, that one pass may hold
REMEMBERED = 2**27  # bytes, of what turning dials does to the logits of one batch


class Turn(NamedTuple):
    """One dial, off by so much, in all calls of attention or in that one alone, counted from 0."""

    dial: Dial
    by: float
    call: int | None = None

    def answering(self, model: Model) -> Callable[[Attend], torch.Tensor]:
        """How the model answers a call of attention then.

        Raises:
            ValueError: it is turned elsewhere.
        """
        if self.dial.answers is None:
            raise ValueError(f"{self.dial.name} is not turned in calls of attention")
        turned: Turned = self.dial.answers(model)
        return lambda call: turned(call, self.by) if self.call in (None, call.number) else call()

    def turning(self, model: Model) -> AbstractContextManager[None]:
        """While entered, it is."""
        return self.dial.turning(model, self.by) if self.call is None else answered(model, self.answering(model))


Turning = Callable[[Iterable[Turn]], Iterator[torch.Tensor]]  # what each does, in the order in which they are asked


class Remembered:
    """The same, asked of golden once; between two asks no more of it is kept than may be, the latest first."""

    def __init__(self, turning: Turning) -> None:
        self._turning = turning
        self._known: OrderedDict[Turn, torch.Tensor] = OrderedDict()

    def __call__(self, turns: Iterable[Turn]) -> Iterator[torch.Tensor]:
        """What each does, in the order in which they are asked."""
        asked, known = list(turns), self._known
        new = list(dict.fromkeys(turn for turn in asked if turn not in known))
        known.update(zip(new, self._turning(new), strict=True))
        for turn in asked:
            known.move_to_end(turn)
        answers = [known[turn] for turn in asked]
        forget_beyond(REMEMBERED, known, lambda moved: moved.nbytes)
        return iter(answers)

    @property
    def nbytes(self) -> int:
        """What remembering takes."""
        return sum(moved.nbytes for moved in self._known.values())


class Golden:
    """One pass of golden over a batch, and the same with dials turned.

    Args:
        model: golden.
        batch: as it is told.
        dtype: of the cell.
    """

    def __init__(self, model: Model, batch: Mapping[str, torch.Tensor], dtype: str) -> None:
        self._model, self._batch, self._dtype = model, batch, dtype
        with torch.no_grad(), exactly(dtype, True):
            straight, self.calls = counted(model, lambda: forward(model, batch).cpu())
        self.attended = judged(batch, straight).cpu()  # bool, (batch, positions): where it is judged
        self.stride = max(1, int(self.attended.sum()) * straight.shape[-1] // NUMBERS)
        self._straight = self._seen(straight)
        self._copies = self._how_many_at_once(straight.shape)

    def turned(self, turns: Iterable[Turn]) -> Iterator[torch.Tensor]:
        """By how much each of them moves the logits that are looked at, of shape (judged, classes)."""
        for in_calls, alike in groupby(turns, lambda turn: turn.dial.answers is not None):
            left = list(alike)
            while left:
                many = max(1, self._copies - 1) if in_calls else 1
                several, left = left[:many], left[many:]
                yield from self._in_rows_of_their_own(several) if len(several) > 1 else map(self._alone, several)

    def _alone(self, turn: Turn) -> torch.Tensor:
        # Whatever is loaded to turn it is loaded as for anybody, and not in float64.
        with torch.no_grad(), turn.turning(self._model), exactly(self._dtype, True):
            return self._seen(forward(self._model, self._batch)) - self._straight

    def _seen(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.cpu()[self.attended][:, :: self.stride].double()

    def _in_rows_of_their_own(self, turns: Sequence[Turn]) -> Iterable[torch.Tensor]:
        """The batch once as it is and once for each turn, one below the other."""
        model, rows, copies = self._model, rows_of(self._batch), len(turns) + 1
        answers = [turn.answering(model) for turn in turns]

        def answer(call: Attend) -> torch.Tensor:
            if len(call.query) != rows * copies:
                raise _OtherRows
            own = [call.of_rows(slice(at * rows, (at + 1) * rows)) for at in range(copies)]
            return torch.cat([own[0](), *(turned(part) for turned, part in zip(answers, own[1:], strict=True))])

        batch = {name: one.repeat(copies, *[1] * (one.ndim - 1)) for name, one in self._batch.items()}
        try:
            with torch.no_grad(), exactly(self._dtype, True), answered(model, answer):
                straight, *moved = map(self._seen, forward(model, batch).cpu().split(rows))
        except _OtherRows:
            self._copies = 1
            return map(self._alone, turns)
        return [one - straight for one in moved]

    def _how_many_at_once(self, shape: torch.Size) -> int:
        """Copies of the batch in one pass, of logits of that shape; 1 where it is not of rows of tokens alone."""
        rows, positions, classes = shape
        if others(self._batch) or any(len(one) != rows for one in self._batch.values()):
            return 1
        longest = max(one.shape[1] for one in self._batch.values())
        heads = text_config(self._model.config).num_attention_heads
        return max(1, AT_ONCE // (rows * max(positions * classes, heads * longest**2)))


class _OtherRows(Exception):
    """A call of attention is not of the batch's rows."""
