"""Where wrong numbers begin: candidate, baseline and golden module by module, on the same tokens."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from conformance.adapters import AdaptedRun
from conformance.explaining.calls import Batch, Call, Calls
from conformance.judging.comparison import compare
from conformance.judging.found import TrainingStep, TwoRuns
from conformance.judging.references import References, each_row_alone
from conformance.models.batches import takes_positions, told
from conformance.models.outputs import forward, home
from matrix import oracle
from matrix.observation import Comparison, ModuleError, Origin
from matrix.pattern import map_row, words

_STRIP_KEPT = 160  # modules
# What is allowed of logits, where errors of many layers have averaged out, single modules exceed: in 319 honest cells
# on a CPU by up to 1.6 times, routers in single steps by more (see `_held`). Asked first is what is beyond all doubt,
# then, if that is nothing, what is beyond most.
_BEYOND = (2.0, 1.2)
# What goes in is right where it is within that, and its error at least so many times less beyond than what comes out.
_GROWN = 1.5

Key = tuple[bool, str, int, str, str]  # of an encoder, module, turn, which side, name of the tensor


@dataclass
class Laid:
    """What a reference gave for each token of the batch."""

    values: torch.Tensor  # (rows, tokens, features)
    known: torch.Tensor  # (rows, tokens)

    def at(self, where: torch.Tensor) -> torch.Tensor:
        """What it gave there, of shape (tokens, features)."""
        return self.values[where].double()


@dataclass(frozen=True)
class Held:
    """One tensor of a candidate, held against golden and baseline."""

    comparison: Comparison
    rows: torch.Tensor  # of the batch, for each token that was compared
    positions: torch.Tensor
    candidate: torch.Tensor  # (tokens, features)
    golden: torch.Tensor
    finite: bool  # of the candidate
    eager_finite: bool
    largest: float  # absolute value of the candidate

    @property
    def bounds(self) -> tuple[oracle.Bound, ...]:
        """Of the largest and of the mean error."""
        return oracle.bounds(self.comparison)[:2]

    @property
    def ratio(self) -> float:
        """Of error to bound; infinite where the candidate alone is not finite, 0 where nothing can be told."""
        if not self.finite:
            return float("inf")
        return max(bound.ratio for bound in self.bounds) if self.comparison.finite else 0.0

    def ratios(self) -> torch.Tensor:
        """For each token the ratio of its own error."""
        most, mean = self.bounds
        error = (self.candidate - self.golden).abs()
        own = torch.maximum(error.amax(1) / (most.allowed or 1e-30), error.mean(1) / (2 * mean.allowed or 1e-30))
        return torch.where(torch.isfinite(self.candidate).all(1), own, float("inf"))


# One tensor of a call, held against the truth: the side that it is on, and its name.
Hold = Callable[[Call, str, str], Held | None]


class Truth:
    """Golden and baseline of a batch, module by module.

    Golden sees each row alone, as it does for the logits. Where the candidate was not `told` positions and they are
    relative, golden is given the columns of the batch for positions, so that rotary embeddings can be compared too.
    """

    def __init__(self, references: References, batch: Batch, *, told_positions: bool, dtype: str, quantised: bool):
        self.batch, self._dtype, self._quantised = batch, dtype, quantised
        architecture = references.source.architecture
        whole = architecture.positions in ("fixed", "length")
        tokens = batch["input_ids"]
        columns = {**batch, "position_ids": torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)}

        def at_once(model: Any) -> Any:
            return home(forward(model, batch if whole else told(batch, model, architecture)))

        def alone(model: Any) -> Any:
            rotary = any("rotary" in type(module).__name__.lower() for module in model.modules())
            relative = rotary and not told_positions and takes_positions(model)
            return each_row_alone(model, columns if relative else batch)

        # One after the other: of a real checkpoint no two need fit at once.
        self._golden, _ = self._laid(references, at_once if whole else alone, golden=True)
        self._baseline, usual = self._laid(references, at_once, golden=False)
        if not whole and not torch.equal(
            usual.cpu(), references(batch, golden=False).cpu()
        ):  # the batch is no ordinary run
            self._baseline, _ = self._laid(references, alone, golden=False)

    def _laid(
        self, references: References, how: Callable[[Any], torch.Tensor], *, golden: bool
    ) -> tuple[dict[Key, Laid], torch.Tensor]:
        calls, model = Calls(), references.model(golden)
        calls.know(model)
        with calls.recording():
            logits = references.run(model, how, golden)
        return laid_out(calls.placed(self.batch), self.batch), logits

    def hold(self, call: Call, side: str, name: str) -> Held | None:
        """One tensor of a call, at the tokens that are judged; None if there is nothing to hold it against."""
        key = call.of.encoder, call.module, call.turn, side, name
        golden, baseline = self._golden.get(key), self._baseline.get(key)
        tensor = (call.inputs if side == "in" else call.outputs)[name]
        if golden is None or baseline is None or golden.values.shape[-1] != tensor.shape[-1]:
            return None
        where = golden.known & baseline.known
        if call.of.encoder or "decoder_input_ids" not in self.batch:
            where = where & self.batch["attention_mask"].bool().cpu()
        return _held(call, tensor, golden, baseline, where, self._dtype, self._quantised)


def _held(
    call: Call,
    tensor: torch.Tensor,
    golden: Laid,
    baseline: Laid,
    where: torch.Tensor,
    dtype: str,
    quantised: bool,
    gradients: bool = False,
) -> Held | None:
    places, own = call.of.positions, torch.tensor(call.of.rows)
    assert places is not None
    there = (places >= 0) & where[own[:, None], places.clamp_min(0)]
    at, token = there.nonzero(as_tuple=True)
    if not len(at):
        return None
    rows, positions = own[at], places[at, token]
    candidate = tensor[at if len(tensor) == len(own) else torch.zeros_like(at), token]
    truth, usual = golden.values[rows, positions], baseline.values[rows, positions]
    comparison = compare(
        call.module,
        candidate=candidate[None],
        baseline=usual[None],
        golden=truth[None],
        attended=torch.ones(1, len(rows), dtype=torch.bool),
        dtype=dtype,
        quantised=quantised,
        gradients=gradients,
    )
    # A step has few tokens, and what eager attention errs by on them may be next to nothing by chance.
    usually = (baseline.at(where) - golden.at(where)).abs()
    comparison = replace(
        comparison,
        baseline_max=max(comparison.baseline_max, float(usually.max())),
        baseline_mean=max(comparison.baseline_mean, float(usually.mean())),
    )
    return Held(
        comparison,
        rows,
        positions,
        candidate.double(),
        truth.double(),
        bool(torch.isfinite(candidate).all()),
        bool(torch.isfinite(usual).all()),
        float(candidate.abs().max()),
    )


def laid_out(calls: Iterable[Call], batch: Batch) -> dict[Key, Laid]:
    """What calls gave, by token of the batch: those of rows alone and of whole batches look the same then."""
    found: dict[Key, Laid] = {}
    for call in calls:
        for side, tensors in (("in", call.inputs), ("out", call.outputs)):
            for name, tensor in tensors.items():
                key = call.of.encoder, call.module, call.turn, side, name
                own = batch["input_ids"] if call.of.encoder else batch.get("decoder_input_ids", batch["input_ids"])
                if key not in found:
                    values = tensor.new_zeros((*own.shape, tensor.shape[-1]))
                    found[key] = Laid(values, torch.zeros(own.shape, dtype=torch.bool))
                laid, places = found[key], call.of.positions
                if places is None or laid.values.shape[-1] != tensor.shape[-1]:
                    continue
                rows = torch.tensor(call.of.rows)[:, None].expand_as(places)
                there = places >= 0
                spread = tensor.expand(len(places), *tensor.shape[1:])
                laid.values[rows[there], places[there]] = spread[there]
                laid.known[rows[there], places[there]] = True
    return found


def origin_of(calls: Calls, found: Any, truth_of: Callable[[Batch, bool], Truth], heads: int) -> Origin | None:
    """The first module, in the order of the forward passes, whose inputs are right and whose output is not.

    One that was given what is wrong already only hands it on, and so does what follows. None if no module's output is
    wrong, such as where the logits are by a little.
    """
    if isinstance(found, AdaptedRun):  # golden's modules are those of the base
        return None
    if getattr(found, "said", None) is not None:  # requests share calls: theirs are not the batch's places
        return None
    placed = calls.placed(found.forced, getattr(found, "searched", None))
    hold = cache(truth_of(found.forced, any(call.of.told for call in placed)).hold)
    for beyond in _BEYOND:
        brings, hands_on = _first(placed, hold, beyond)
        if brings is not None:
            break
    call = brings or hands_on
    if call is None:
        return None
    inputs = _holds(call, "in", hold)
    wrong = next(held for held in _holds(call, "out", hold) if held.ratio > beyond)
    return replace(
        _origin(call, wrong, inputs, call is brings, beyond, _padded(found.forced)),
        run=("first run", "second run")[min(call.of.run, 1)] if isinstance(found, TwoRuns) else "",
        heads=_heads(call, placed, hold, heads, beyond),
        strip=_strip(call, placed, hold),
        rows=_map(call, placed, hold),
    )


def _first(placed: list[Call], hold: Hold, beyond: float) -> tuple[Call | None, Call | None]:
    """The first call that gives what is wrong of what is right, and else the first that gives what is wrong."""
    hands_on = None
    for call in placed:
        worst = max((held.ratio for held in _holds(call, "out", hold)), default=0.0)
        if worst > beyond:
            if not any(held.ratio > min(beyond, worst / _GROWN) for held in _holds(call, "in", hold)):
                return call, hands_on
            hands_on = hands_on or call
    return None, hands_on


def _holds(call: Call, side: str, hold: Hold) -> list[Held]:
    names = call.inputs if side == "in" else call.outputs
    return [held for name in names if (held := hold(call, side, name)) is not None]


def _origin(call: Call, wrong: Held, inputs: list[Held], brings: bool, beyond: float, padded: frozenset[int]) -> Origin:
    worst = max(inputs, key=lambda held: held.ratio, default=None)
    return Origin(
        run="",
        call=call.of.number,
        module=call.module,
        kind=call.kind,
        pattern=words(_rows(wrong, beyond), padded),
        candidate=wrong.comparison.candidate_max,
        baseline=wrong.comparison.baseline_max,
        allowed=wrong.bounds[0].allowed,
        inputs=worst.comparison.candidate_max if worst else 0.0,
        inputs_allowed=worst.bounds[0].allowed if worst else 0.0,
        brings=brings,
        finite=wrong.finite,
        largest_input=max((held.largest for held in inputs), default=0.0) if not wrong.finite else 0.0,
        eager_too=not wrong.finite and not wrong.eager_finite,
    )


def _padded(batch: Batch) -> frozenset[int]:
    return frozenset((~batch["attention_mask"].bool()).any(1).nonzero()[:, 0].tolist())


def _rows(held: Held, beyond: float = 1.0) -> list[str]:
    """The map of one tensor: rows of the batch, and their tokens."""
    shape = int(held.rows.max()) + 1, int(held.positions.max()) + 1
    ratios: list[list[float | None]] = [[None] * shape[1] for _ in range(shape[0])]
    for row, position, ratio in zip(held.rows.tolist(), held.positions.tolist(), held.ratios().tolist(), strict=True):
        ratios[row][position] = ratio / beyond
    return [map_row(row) for row in ratios]


def _map(begins: Call, placed: list[Call], hold: Hold) -> tuple[str, ...]:
    """Where the logits of the run are wrong in which it begins."""
    found: dict[int, dict[int, str]] = {}
    for call in placed:
        if call.module or call.of.run != begins.of.run or call.of.encoder or "logits" not in call.outputs:
            continue
        held = hold(call, "out", "logits")
        for row, line in enumerate(_rows(held) if held else []):
            for position, character in enumerate(line):
                if character != " ":
                    found.setdefault(row, {})[position] = character
    width = 1 + max((position for row in found.values() for position in row), default=-1)
    lines = (
        "".join(found.get(row, {}).get(at, " ") for at in range(width)) for row in range(1 + max(found, default=-1))
    )
    return tuple(lines)


def _strip(begins: Call, placed: list[Call], hold: Hold) -> tuple[ModuleError, ...]:
    """How the error grows along the forward pass in which it begins."""
    found = []
    for call in placed:
        if call.of is not begins.of:
            continue
        held = _holds(call, "out", hold)
        if held:
            worst = max(held, key=lambda one: one.ratio)
            errors = worst.comparison.candidate_mean, worst.comparison.baseline_mean
            found.append(ModuleError(call.module, call.kind, *errors, worst.ratio))
    return tuple(found[:_STRIP_KEPT])


def _heads(call: Call, placed: list[Call], hold: Hold, heads: int, beyond: float) -> tuple[int, ...]:
    """The heads that are wrong of a module that is attention, where they can be told apart and not all are.

    They stand side by side in what goes into its last projection, or in what it gives itself.
    """
    if "attention" not in call.kind.lower():
        return ()
    parts = [one for one in placed if one.of is call.of and one.module.startswith(f"{call.module}.")]
    sides = [(parts[-1], "in", name) for name in (parts[-1].inputs if parts else {})]
    sides += [(call, "out", name) for name in call.outputs]
    for one, side, name in sides:
        held = hold(one, side, name)
        if held is None or held.candidate.shape[1] % heads:
            continue
        error = (held.candidate - held.golden).abs().unflatten(1, (heads, -1))
        most, mean = held.bounds
        ratios = torch.maximum(error.amax((0, 2)) / most.allowed, error.mean((0, 2)) / mean.allowed)
        wrong = (~(ratios <= beyond)).nonzero()[:, 0].tolist()
        if 0 < len(wrong) < heads:
            return tuple(wrong)
    return ()


def gradient_origin(calls: Calls, found: TrainingStep, references: References, *, dtype: str) -> Origin | None:
    """The same backwards: the first module, from the loss on, that is handed a right gradient and gives a wrong one."""
    sides = {}
    for golden in (True, False):
        others = Calls(gradients=True)

        def again(model: Any, batch: Batch, others: Calls = others) -> Any:
            others.know(model)
            with others.recording():
                return found.again(model, batch)

        _, gradients = references.anew(found.forced, again, golden=golden)
        sides[golden] = laid_out(others.placed(found.forced), found.forced), gradients
    strip: list[ModuleError] = []
    beyond = _BEYOND[0]
    begins: Origin | None = None
    for call in sorted(calls.placed(found.forced), key=lambda call: -call.began):
        given, gives = (list(_gradients(call, side, sides, dtype)) for side in ("out", "in"))
        gives += _parameters(call, found.gradients, sides, dtype)
        if not gives:
            continue
        worst = max(gives, key=lambda held: held.ratio)
        errors = worst.comparison.candidate_mean, worst.comparison.baseline_mean
        strip.append(ModuleError(call.module, call.kind, *errors, worst.ratio))
        if begins is None and worst.ratio > beyond and not any(held.ratio > beyond for held in given):
            begins = replace(_origin(call, worst, given, True, beyond, _padded(found.forced)), backwards=True)
    return None if begins is None else replace(begins, strip=tuple(strip[:_STRIP_KEPT]))


def _gradients(call: Call, side: str, sides: Any, dtype: str) -> Iterator[Held]:
    for name, tensor in (call.inputs if side == "in" else call.outputs).items():
        key = call.of.encoder, call.module, call.turn, side, name
        golden, baseline = (sides[which][0].get(key) for which in (True, False))
        if golden is None or baseline is None:
            continue
        # Each in units of its own size: the bounds of gradients are of that.
        size = float(golden.values.double().square().mean().sqrt()) or 1.0
        scaled = [Laid(laid.values / size, laid.known) for laid in (golden, baseline)]
        where = golden.known & baseline.known
        held = _held(call, tensor / size, *scaled, where, dtype, False, gradients=True)
        if held is not None:
            yield held


def _parameters(call: Call, gradients: Any, sides: Any, dtype: str) -> list[Held]:
    """Those of the module's own parameters, which only it gives."""
    found = []
    for name, gradient in gradients.items():
        golden, baseline = (sides[which][1].get(name) for which in (True, False))
        if name.rpartition(".")[0] != call.module or call.turn or golden is None or baseline is None:
            continue
        size = float(golden.double().square().mean().sqrt()) or 1.0
        values = [(one.flatten()[None] / size).cpu() for one in (gradient, baseline, golden)]
        ones = torch.ones(1, 1, dtype=torch.bool)
        comparison = compare(
            name,
            candidate=values[0][None],
            baseline=values[1][None],
            golden=values[2][None],
            attended=ones,
            dtype=dtype,
            gradients=True,
        )
        place = torch.zeros(1, dtype=torch.long)
        finite = bool(torch.isfinite(gradient).all())
        eager = bool(torch.isfinite(baseline).all())
        largest = float(gradient.abs().max())
        found.append(Held(comparison, place, place, values[0].double(), values[2].double(), finite, eager, largest))
    return found
