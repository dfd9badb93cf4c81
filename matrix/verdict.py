"""Observation held against expectation: one word, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from matrix import oracle
from matrix.architectures import Architecture
from matrix.cell import Cell
from matrix.dials import explanation
from matrix.evidence import substitutions
from matrix.expectation import Expectation, Outcome
from matrix.observation import Ending, Evidence, Failure, Observation, Origin, Phase
from matrix.shortage import figures_in
from matrix.stack import Device

_WORTH_SAYING = 0.1  # of a model's bytes
_WHOLE_TO_SAY = 0.75  # the same, in each of the processes that hold it together


class Verdict(StrEnum):
    """The words of the matrix."""

    SUPPORTED = "supported"  # within bounds, and what ran is what the cell names
    REFUSED = "refused"  # raised exactly the documented error
    UNAVAILABLE = "unavailable"  # a package, GPU or compiler that it needs is not here
    SUBSTITUTED = "substituted"  # within bounds, but something else ran
    INACCURATE = "inaccurate"  # out of bounds, or not finite
    UNEXPECTED = "unexpected"  # the documented error did not come
    ERROR = "error"  # raised something undocumented, or in another phase
    CRASHED = "crashed"  # the process died
    TIMEOUT = "timeout"  # no answer in time
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_LOST = "device_lost"  # the CUDA context is beyond use
    NOT_BUILT = "not_built"  # the fixture or a reference could not be made: the suite's own failure
    FLAKY = "flaky"  # a rerun disagreed; never green
    MISSING = "missing"  # planned, no record

    @property
    def is_documented(self) -> bool:
        """Whether it leaves the exit code at 0 without a waiver."""
        return self in (Verdict.SUPPORTED, Verdict.REFUSED, Verdict.UNAVAILABLE)

    @property
    def executed(self) -> bool:
        """Whether something is known of what the cell does on this machine."""
        return self not in (Verdict.UNAVAILABLE, Verdict.NOT_BUILT, Verdict.MISSING)


_VERDICT_OF_ENDING = {
    Ending.CRASHED: Verdict.CRASHED,
    Ending.TIMEOUT: Verdict.TIMEOUT,
    Ending.OUT_OF_MEMORY: Verdict.OUT_OF_MEMORY,
    Ending.DEVICE_LOST: Verdict.DEVICE_LOST,
}


# What goes wrong in these says nothing of the cell.
_OF_THE_SUITE = (Phase.BUILD, Phase.REFERENCE)


@dataclass(frozen=True)
class Judgement:
    """A verdict and the sentence that explains it."""

    verdict: Verdict
    reason: str


def judge(
    cell: Cell,
    architecture: Architecture,
    observation: Observation,
    expectation: Expectation,
    device: Device,
) -> Judgement:
    """The truth table of the matrix.

    | observed / expected        | supported    | refused                      | unavailable (by a documented error) |
    | parameters were not loaded | inaccurate   | inaccurate, unless refused   | the same                            |
    | within bounds, as named    | supported    | unexpected                   | supported                           |
    | within bounds, other ran   | substituted  | unexpected                   | substituted                         |
    | out of bounds, not finite  | inaccurate   | inaccurate                   | inaccurate                          |
    | raised exactly that        | -            | refused                      | unavailable                         |
    | raised anything else       | error        | error                        | error                               |
    | fixture, reference failed, |              |                              |                                     |
    | or is far from the truth   | not_built    | not_built                    | not_built                           |
    | died, hung, no memory, ... | the same     | the same                     | the same                            |
    | not run                    | unavailable  | unavailable                  | unavailable                         |
    """
    if observation.ending is Ending.NOT_RUN:
        return Judgement(Verdict.UNAVAILABLE, f"not here: {', '.join(observation.missing)}")
    failure = observation.failure
    refused = observation.ending is Ending.RAISED and failure is not None and expectation.matches(failure)
    if observation.evidence.missing_parameters and not refused:  # whatever came after, it came of random weights
        return Judgement(Verdict.INACCURATE, _lacked(observation.evidence))
    said = f"{failure.type} in {failure.phase}: {_first_line(failure.message)}" if failure else ""
    if observation.ending is Ending.OUT_OF_MEMORY and failure is not None and (figures := figures_in(failure.message)):
        said = f"{failure.type} in {failure.phase}: {figures}"
    if observation.ending in _VERDICT_OF_ENDING:
        return Judgement(_VERDICT_OF_ENDING[observation.ending], said or f"the run {observation.ending}")
    if failure is not None and failure.phase in _OF_THE_SUITE:
        return Judgement(Verdict.NOT_BUILT, said)
    if observation.ending is Ending.RAISED:
        if not refused:
            wanted = f"; documented was {_documented(expectation)}" if expectation.type else ""
            return Judgement(Verdict.ERROR, said + (_where(failure) if failure else "") + wanted)
        if failure is not None and (cause := expectation.named_in(failure)) is not None:
            said += f"; caused by {_first_line(cause)}"
        if expectation.outcome is Outcome.UNAVAILABLE:
            return Judgement(Verdict.UNAVAILABLE, f"not here: {', '.join(expectation.missing)} ({said})")
        return Judgement(Verdict.REFUSED, said)
    unmeasured = [void for comparison in observation.comparisons if (void := oracle.no_yardstick(comparison))]
    if unmeasured:
        return Judgement(Verdict.NOT_BUILT, "; ".join(unmeasured))
    found = [problem for comparison in observation.comparisons for problem in oracle.problems(comparison)]
    if not observation.comparisons:
        found.append("nothing was compared")
    if found:
        return Judgement(Verdict.INACCURATE, "; ".join(found))
    if expectation.outcome is Outcome.REFUSED:
        return Judgement(Verdict.UNEXPECTED, f"the documented error did not come: {_documented(expectation)}")
    instead = substitutions(cell, architecture, observation.evidence, device)
    if instead:
        return Judgement(Verdict.SUBSTITUTED, "; ".join(instead))
    worst = max((b for c in observation.comparisons for b in oracle.bounds(c)), key=lambda bound: bound.ratio)
    said = f"{worst.name} at {worst.ratio:.2f} of its bound"
    if any(comparison.draws for comparison in observation.comparisons):
        said += ", of eager attention that errs more when its inputs are rounded otherwise"
    return Judgement(
        Verdict.SUPPORTED,
        "; ".join(
            [said, *weakness(observation), *left_unquantised(observation.evidence), *left_whole(observation.evidence)]
        ),
    )


def weakness(observation: Observation) -> Iterator[str]:
    """What a cell that is within bounds could not have seen, as its fixture was measured: a softmax scale off by 10 %.

    Nothing is said where there is no attention, of relations, which hold two runs against each other, and of what is
    held against quantised weights.
    """
    moved = observation.wrong_scale
    if moved is None:
        return
    for comparison in observation.comparisons:
        allowed = oracle.bounds(comparison)[1].allowed
        single = comparison.runs == 1 and not (comparison.gradients or comparison.quantised)
        if single and moved < allowed:
            yield f"weak: a softmax scale wrong by 10 % moves the output by {moved:.2g}, and {allowed:.2g} would pass"


def left_unquantised(evidence: Evidence) -> Iterator[str]:
    """What a quantised cell that is within bounds does not hold quantised, where that is more than head and embedding.

    Parameters that stack several matrices, as experts are held, are no linear modules: quantisers pass them by.
    """
    if evidence.unquantised_stacked >= _WORTH_SAYING:
        largest = [f"{name} {share:.0%}" for name, share in evidence.unquantised_parameters.items()]
        yield (
            f"left unquantised: {evidence.unquantised_stacked:.0%} of the bytes in stacked parameters, "
            f"among all that is left {_few(largest)}"
        )


def left_whole(evidence: Evidence) -> Iterator[str]:
    """How much of a model each of several processes holds, where that is far more than its share."""
    if evidence.rank_bytes and max(evidence.rank_bytes) > _WHOLE_TO_SAY * evidence.whole_bytes:
        share = max(evidence.rank_bytes) / evidence.whole_bytes
        yield f"each process holds {share:.0%} of the weights: {evidence.divided} parameters are divided"


def _lacked(evidence: Evidence) -> str:
    lacking = evidence.missing_parameters
    said = f"the checkpoint lacks {len(lacking)} parameters of {evidence.model_class}, which were drawn at random: "
    said += _few(lacking)
    if evidence.mismatched_parameters:
        said += f"; of another shape: {_few(evidence.mismatched_parameters)}"
    if evidence.unexpected_parameters:
        unused = evidence.unexpected_parameters
        said += f"; it has {len(unused)} that the class does not use: {_few(unused)}"
    return said


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _where(failure: Failure) -> str:
    """Where it was raised, and what by."""
    parts = []
    if failure.module_class:
        parts.append(
            f"in {failure.module} ({failure.module_class})" if failure.module else f"in {failure.module_class}"
        )
    if failure.frames:
        parts.append(f"at {failure.frames[-1]}")
    caused = f"; caused by {_first_line(failure.causes[-1])}" if failure.causes else ""
    return (f", {' '.join(parts)}" if parts else "") + caused


def begins(origin: Origin | None) -> Iterator[str]:
    """Where wrong numbers begin, as it is added to the reason of a verdict."""
    if origin is None:
        return
    where = f"{origin.run}, " if origin.run else ""
    where += f"call {origin.call}, " if origin.call else ""
    verb = "begins in" if origin.brings else "first seen in"
    heads = f", heads {', '.join(map(str, origin.heads))}" if origin.heads else ""
    yield f"{verb} {where}{origin.place}: {origin.pattern}{heads}"
    if not origin.finite:
        went_in = f"is not finite, the largest value that went in is {origin.largest_input:.4g}"
        eager = "neither is eager attention in this dtype: it is the dtype's range, not the backend"
        yield f"{origin.kind} {went_in}; {eager if origin.eager_too else 'eager attention in this dtype is'}"


def diagnosis(observation: Observation) -> str:
    """Why numbers are wrong: what the dials of attention explain of it, and where it begins.

    Empty where no dial was read: where it begins stands in the reason, and is no more than that.
    """
    dials = [said for comparison in observation.comparisons for said in explanation(comparison.readings)]
    return "; ".join([*dials, *begins(observation.origin)]) if dials else ""


def _documented(expectation: Expectation) -> str:
    caused = f" with a cause matching {expectation.cause!r}" if expectation.cause else ""
    return f"{expectation.type} in {expectation.phase} matching {expectation.message!r}{caused}"


def _first_line(message: str) -> str:
    line = message.strip().splitlines()[0] if message.strip() else ""
    return line if len(line) <= 300 else line[:297] + "..."
