"""What every module of a model was given and gave, and which tokens of a batch that was of."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch

_FEATURES_KEPT = 4096  # of a wider output, such as the logits of a real vocabulary
_FEWEST_TOKENS = 4  # fewer of a new beginning could be found anywhere

Batch = Mapping[str, torch.Tensor]
Searched = Sequence[tuple[list[int], list[int]]]  # for each call the rows of the batch, and the columns of its tokens


@dataclass
class Pass:
    """One call of a model, or of its encoder: the tokens, and where in the batch they stand once that is known."""

    tokens: torch.Tensor  # (rows, tokens)
    encoder: bool
    told: bool  # positions
    rows: list[int] = field(default_factory=list)  # of the batch, for each row of the call
    positions: torch.Tensor | None = None  # (rows, tokens), -1 where there is nothing to compare with
    run: int = 0  # how many times the batch was begun anew before
    number: int = 0  # of the call in that run


@dataclass(eq=False)
class Call:
    """One call of one module, in the order in which they ended."""

    module: str
    kind: str
    turn: int  # how many times it had been called before within the same pass
    of: Pass
    inputs: dict[str, torch.Tensor]  # by name, each of shape (rows or 1, tokens, features)
    outputs: dict[str, torch.Tensor]
    began: int = 0  # its place in the order in which they were called


class Calls:
    """Records the calls of all modules of the models that it knows."""

    def __init__(self, gradients: bool = False) -> None:
        self.found: list[Call] = []
        self._gradients = gradients  # keep what is handed back, instead of what is handed on
        self._names: dict[int, tuple[str, str]] = {}
        self._encoders: set[int] = set()
        self._models: list[torch.nn.Module] = []  # kept alive while recording, for their modules' ids

    def know(self, model: Any) -> None:
        """Record this model's modules."""
        self._models.append(model)
        for name, module in model.named_modules():
            self._names.setdefault(id(module), (name, type(module).__name__))
        if model.config.is_encoder_decoder:
            self._encoders.add(id(model.get_encoder()))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """While entered, calls are recorded, also of a model that is made known meanwhile; afterwards none is known."""
        usual = torch.nn.Module.__call__
        passes: list[Pass] = []
        turns: dict[tuple[int, int], int] = {}
        places = count(len(self.found))

        def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            if id(module) not in self._names:
                return usual(module, *args, **kwargs)
            begins = not passes or id(module) in self._encoders
            if begins:
                tokens = _tokens(args, kwargs)
                if tokens is None:
                    return usual(module, *args, **kwargs)
                passes.append(Pass(tokens, id(module) in self._encoders, kwargs.get("position_ids") is not None))
            of = passes[-1]
            try:
                name, kind = self._names[id(module)]
                record = Call(name, kind, 0, of, {}, {}, next(places))
                if self._gradients:
                    args, kwargs = _watched_backwards((args, kwargs), record.inputs, of.tokens.shape)
                else:
                    record.inputs = dict(_tensors((args, kwargs), of.tokens.shape))
                output = usual(module, *args, **kwargs)
                record.turn = turns[id(of), id(module)] = turns.get((id(of), id(module)), -1) + 1
                if self._gradients:
                    output = _watched_backwards(output, record.outputs, of.tokens.shape)
                else:
                    record.outputs = dict(_tensors(output, of.tokens.shape))
                self.found.append(record)
                return output
            finally:
                if begins:
                    passes.pop()

        torch.nn.Module.__call__ = call
        try:
            yield
        finally:
            torch.nn.Module.__call__ = usual
            self._models.clear()  # to make room for the next
            self._names.clear()
        _bring_home([tensors for record in self.found for tensors in (record.inputs, record.outputs)])

    def placed(self, batch: Batch, searched: Searched | None = None) -> list[Call]:
        """The calls of passes whose tokens are found in the batch, in order; of a search it is said where they are."""
        passes = list({id(call.of): call.of for call in self.found}.values())
        for encoder in (True, False):
            if encoder or "decoder_input_ids" not in batch:
                tokens, mask = batch["input_ids"], batch["attention_mask"].bool()
            else:
                tokens = batch["decoder_input_ids"]
                mask = torch.ones_like(tokens, dtype=torch.bool)
            own = [one for one in passes if one.encoder is encoder]
            _place(own, tokens.cpu(), mask.cpu(), searched if not encoder else None)
        return [call for call in self.found if call.of.positions is not None]


def _bring_home(found: list[dict[str, torch.Tensor]]) -> None:
    """Move tensors to the CPU, all of a dtype at once: with many workers on a GPU each wait for it takes its time."""
    away: dict[tuple[torch.device, torch.dtype], list[tuple[dict[str, torch.Tensor], str]]] = {}
    for tensors in found:
        for name, tensor in tensors.items():
            if tensor.device.type != "cpu":
                away.setdefault((tensor.device, tensor.dtype), []).append((tensors, name))
    for places in away.values():
        parts = [tensors[name] for tensors, name in places]
        home = torch.cat([part.flatten() for part in parts]).cpu().split([part.numel() for part in parts])
        for (tensors, name), part, flat in zip(places, parts, home, strict=True):
            tensors[name] = flat.view(part.shape)


def _tokens(args: Any, kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    given = (kwargs.get("decoder_input_ids"), kwargs.get("input_ids"), args[0] if args else None)
    found = next((one for one in given if isinstance(one, torch.Tensor) and one.ndim == 2), None)
    return None if found is None or found.is_floating_point() else found.detach().cpu()


def _place(passes: list[Pass], tokens: torch.Tensor, mask: torch.Tensor, searched: Searched | None = None) -> None:
    """Find each pass in the batch: it goes on where the one before ended, or begins anew.

    Anew a row of it is the row of the batch that begins with the same tokens, with its padding or without; what
    differs from some token on is compared up to there.
    """
    held: list[tuple[int, int]] = []
    run, number = -1, 0
    for index, one in enumerate(passes):
        if searched is not None and 0 < index < len(searched):
            one.rows, columns = searched[index]
            one.positions, one.number = torch.tensor(columns)[:, None], index
            continue
        given = one.tokens
        length = given.shape[1]
        goes_on = len(held) == len(given) and all(
            torch.equal(tokens[row, end : end + length], given[at]) for at, (row, end) in enumerate(held)
        )
        if goes_on:
            one.rows = [row for row, _ in held]
            one.positions = torch.stack([torch.arange(end, end + length) for _, end in held])
        else:
            found = [_begun(given[at], at, tokens, mask) for at in range(len(given))]
            if (run >= 0 and length < _FEWEST_TOKENS) or all(places is None for _, places in found):
                held = []
                continue
            run, number = run + 1, 0
            nowhere = torch.full((length,), -1)
            one.rows = [row for row, _ in found]
            one.positions = torch.stack([nowhere if places is None else places for _, places in found])
        one.run, one.number = max(run, 0), number
        number += 1
        held = [(row, int(places[-1]) + 1) for row, places in zip(one.rows, one.positions, strict=True)]


def _begun(given: torch.Tensor, at: int, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[int, torch.Tensor | None]:
    """The row of the batch that begins as this one does, and the columns of its tokens."""
    best: tuple[int, int, torch.Tensor | None] = (0, 0, None)
    rows = sorted(range(len(tokens)), key=lambda row: row != at)
    for row in rows:
        for columns in (torch.arange(tokens.shape[1]), mask[row].nonzero()[:, 0]):
            columns = columns[: len(given)]
            same = int((tokens[row, columns] == given[: len(columns)]).long().cumprod(0).sum())
            if same > best[0]:
                places = torch.full((len(given),), -1)
                places[:same] = columns[:same]
                best = same, row, places
    return best[1], best[2]


def _flat(found: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(found, torch.Tensor):
        yield name, found
    elif isinstance(found, Mapping):
        for key, value in found.items():
            yield from _flat(value, str(key))
    elif isinstance(found, tuple | list):
        for number, value in enumerate(found):
            yield from _flat(value, f"{name}{number}")


def _tensors(found: Any, shape: torch.Size) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors that have a share for each token, each as (rows or 1, tokens, features)."""
    for name, tensor in _flat(found):
        share = _share(tensor.detach(), shape)
        if share is not None:
            yield name, share.to(copy=True)


def _share(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
    rows, length = shape
    if not tensor.is_floating_point() or tensor.ndim < 2:
        return None
    if tensor.ndim == 2 and len(tensor) == rows * length:  # experts see tokens of all rows alike
        return tensor.reshape(rows, length, -1)[..., :_FEATURES_KEPT]
    if tensor.ndim < 3 or tensor.shape[1] != length or tensor.shape[0] not in (1, rows):
        return None
    return tensor.flatten(2)[..., :_FEATURES_KEPT]


def _watched_backwards(found: Any, into: dict[str, torch.Tensor], shape: torch.Size, name: str = "") -> Any:
    """The same, each tensor by another name of its own, so that the gradient is of this use of it alone."""
    if isinstance(found, torch.Tensor):
        if not found.requires_grad or _share(found.detach(), shape) is None:
            return found
        alias = found.view_as(found)

        def keep(gradient: torch.Tensor) -> None:
            share = _share(gradient.detach(), shape)
            if share is not None:
                into[name] = share.to(copy=True)

        alias.register_hook(keep)
        return alias
    if isinstance(found, Mapping):
        for key in list(found):
            value = _watched_backwards(found[key], into, shape, str(key))
            if value is not found[key]:
                found[key] = value  # type: ignore[index]
        return found
    if type(found) in (tuple, list):
        return type(found)(_watched_backwards(value, into, shape, f"{name}{at}") for at, value in enumerate(found))
    return found
