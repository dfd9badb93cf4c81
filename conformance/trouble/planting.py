"""Plants trouble in the process that measures: it strikes inside what the bench calls, as if a library had done it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conformance import interruption
from conformance.trouble.orders import Moment, Orders
from matrix.cell import Cell
from matrix.observation import Ending, Phase

_PLANTING = threading.Lock()
_LATER_CALL = 5  # of a model or its parts in `generate`: when the first token has been chosen


@dataclass
class Scene:
    """Where this process is, and what is planted there."""

    orders: Orders
    cell: str = ""
    phase: Phase | None = None
    calls: int = 0  # of models, since the phase began

    def enters(self, cell: Cell, phase: Phase) -> None:
        """A phase of a cell begins."""
        self.cell, self.phase, self.calls = cell.id, phase, 0

    def loaded(self) -> None:
        """from_pretrained is about to return."""
        if self.phase is Phase.LOAD:
            self.reaches(Moment.LOAD)

    def called(self) -> None:
        """A model is called."""
        self.calls += 1
        if self.phase is Phase.FORWARD and self.calls == 1:
            self.reaches(Moment.FORWARD)
        elif self.phase is Phase.GENERATE and self.calls == _LATER_CALL:
            self.reaches(Moment.GENERATE)

    def reaches(self, moment: Moment) -> None:
        """Let what is planted here strike."""
        name, when = self.orders.planted.get(self.cell, ("", None))
        if when is moment:
            from conformance.trouble.catalogue import TROUBLES

            with self.orders.struck.open("a", encoding="utf-8") as file:
                file.write(f"{self.cell}\n")
            TROUBLES[name].strike()


_scene: Scene | None = None


def plant(line: str) -> None:
    """Plant what the orders in that line of JSON say; once in a process."""
    global _scene
    with _PLANTING:
        if _scene is None:
            _scene = Scene(Orders.read(line))
            interruption.GRACE_SECONDS = _scene.orders.grace
            _wire(_scene)


def _wire(scene: Scene) -> None:
    import torch
    from transformers import PreTrainedModel

    from conformance.bench import Bench
    from conformance.trouble.catalogue import PlayedLoss

    torch.set_num_threads(1)  # small models: several only wait for each other, past a short time limit
    load, make, compared, ending_of = (
        PreTrainedModel.from_pretrained.__func__,
        Bench.__init__,
        Bench._compared,
        Bench._ending_of,
    )

    def from_pretrained(cls: type, *args: Any, **kwargs: Any) -> Any:
        loaded = load(cls, *args, **kwargs)
        scene.loaded()
        return loaded

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        scene.called()
        return torch.nn.Module.__call__(self, *args, **kwargs)

    def made(self: Bench, *, on_phase: Callable[[Cell, Phase], None] = lambda cell, phase: None, **named: Any) -> None:
        def told(cell: Cell, phase: Phase) -> None:
            on_phase(cell, phase)
            scene.enters(cell, phase)

        make(self, on_phase=told, **named)

    def compared_and_struck(self: Bench, *args: Any, **named: Any) -> Any:
        found = compared(self, *args, **named)
        scene.reaches(Moment.AFTER)
        return found

    def played(self: Bench, error: BaseException) -> Ending:
        return Ending.DEVICE_LOST if isinstance(error, PlayedLoss) else ending_of(self, error)

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)
    PreTrainedModel.__call__ = call
    Bench.__init__ = made  # type: ignore[assignment,method-assign]
    Bench._compared = compared_and_struck  # type: ignore[method-assign]
    Bench._ending_of = played  # type: ignore[method-assign]
