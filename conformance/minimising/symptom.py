"""Whether a smaller case still fails, and in the same way: judged as a cell is."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import transformers

import conformance.course
from conformance.bench import Bench
from conformance.minimising.case import Case
from conformance.models import batches
from conformance.models.loading import Source
from conformance.workloads import continued, generate
from matrix.architectures import Architecture
from matrix.dials import Reading, cause
from matrix.expectation import SUPPORTED
from matrix.observation import Failure, Origin
from matrix.stack import Stack
from matrix.verdict import Judgement, Verdict, begins, judge

# Weights of 1.3 standard deviations of what keeps activations at one size: under the library's own, little shows.
LOUDNESS = 1.3


@dataclass(frozen=True)
class Symptom:
    """How a case fails."""

    verdict: Verdict
    reason: str
    where: str  # class of the first wrong module, or the type of the exception and the function that raised it
    pattern: str = ""
    dial: str = ""  # of attention, that explains most of it

    def same(self, other: "Symptom", *, pattern: bool = True) -> bool:
        """Whether another case fails in the same way: in the same class of module or function, and pattern."""
        alike = (self.verdict, self.where) == (other.verdict, other.where)
        return alike and (not pattern or _kind(self.pattern) == _kind(other.pattern))


def _kind(pattern: str) -> str:
    """A pattern whatever its numbers: which rows those are changes as soon as there are fewer."""
    return re.sub(r"\d+", "#", re.sub(r"rows? [\d, ]+ only|(un)?padded rows only", "some rows", pattern))


class _Bench(Bench):
    """A bench whose checkpoints were made here: of those that are the user's own no dials are read."""

    def source(self, course: Any) -> Source:
        """The same, and nobody's."""
        source = super().source(course)
        source.own = False
        return source


class Clinic:
    """Runs cases on plain weights, so that a short script can make the same ones."""

    def __init__(self, architecture: Architecture, stack: Stack, fixture_cache: Path) -> None:
        self._architecture, self._stack, self._cache = architecture, stack, fixture_cache

    def symptom(self, case: Case, *, dials: bool = False) -> Symptom | None:
        """How the case fails; None where it does not, or cannot even be made.

        With `dials` also which part of attention is off, which takes many passes of golden more.
        """
        architecture = replace(self._architecture, config=MappingProxyType(dict(case.config)))
        with tempfile.TemporaryDirectory() as folder, _inputs_of(case):
            try:
                plain_model(architecture).save_pretrained(folder, safe_serialization=True)
            except Exception:  # what a class makes of a config that does not fit together
                return None
            name = architecture.name
            bench = _Bench(
                device=self._stack.device,
                architectures={name: architecture},
                fixture_cache=self._cache,
                checkpoints={name: folder},
                dials=dials,
            )
            observation = bench.run(case.cell)
            judgement = judge(case.cell, architecture, observation, SUPPORTED, self._stack.device)
            if judgement.verdict is Verdict.INACCURATE:
                return _inaccurate(judgement, bench.origin(case.cell), cause(observation.readings))
            if judgement.verdict is Verdict.ERROR and observation.failure is not None:
                return Symptom(judgement.verdict, judgement.reason, _raised(observation.failure))
        return None


def plain_model(architecture: Architecture) -> Any:
    """A model of weights that a script makes in three lines."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(architecture.model_type, **architecture.config)
    model = getattr(transformers, architecture.auto_class).from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(LOUDNESS * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
    return model


def _inaccurate(judgement: Judgement, origin: Origin | None, laid: Reading | None) -> Symptom:
    reason, dial = "; ".join([judgement.reason, *begins(origin)]), laid.name if laid is not None else ""
    if origin is None:
        return Symptom(judgement.verdict, reason, "", dial=dial)
    return Symptom(judgement.verdict, reason, origin.kind, origin.pattern, dial)


def _raised(failure: Failure) -> str:
    function = failure.frames[-1].rpartition(" ")[2] if failure.frames else ""
    return f"{failure.type} in {function}"


@contextlib.contextmanager
def _inputs_of(case: Case) -> Iterator[None]:
    """While entered batches are as small as the case says, and nobody minds that they say next to nothing."""
    kept = batches.LENGTHS, generate.NEW_TOKENS, continued.NEW_TOKENS, conformance.course.checked
    batches.LENGTHS = dict.fromkeys(batches.LENGTHS, case.lengths)
    generate.NEW_TOKENS = continued.NEW_TOKENS = case.new_tokens
    conformance.course.checked = lambda batch, padding: batch
    try:
        yield
    finally:
        batches.LENGTHS, generate.NEW_TOKENS, continued.NEW_TOKENS, conformance.course.checked = kept
