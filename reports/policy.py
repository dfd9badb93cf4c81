"""What of an upgrade counts, as a team wrote it down: `[tool.conformance.gate]` of its pyproject.toml, or a file."""

from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matrix.axes import Dtype
from matrix.errors import UsageError, quoted
from matrix.files import read_toml
from reports.differences import Aspect, Bands, Kind
from reports.reading import first_problem

_PROJECT = Path("pyproject.toml")
_TABLE = ("tool", "conformance", "gate")


# What differs there is never worse of itself: it fails a gate only where somebody says so.
_NEVER_WORSE = (Aspect.MESSAGE, Aspect.KERNELS, Aspect.DTYPE, Aspect.FIGURES, Aspect.DIALS, Aspect.EAGER)


class Weight(StrEnum):
    """What a difference counts."""

    REGRESSION = "regression"  # it fails the gate
    CHANGE = "change"  # it is told
    IGNORE = "ignore"  # it is left out


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Counts(_Table):
    """What each way of getting worse, or of being another, counts."""

    verdict: Weight = Field(default=Weight.REGRESSION, description="it worked, or was refused, and is wrong now")
    fallback: Weight = Field(default=Weight.REGRESSION, description="something else runs than what was asked for")
    known: Weight = Field(default=Weight.REGRESSION, description="it got worse by a fault that is reported upstream")
    unavailable: Weight = Field(default=Weight.REGRESSION, description="it needs what is not in the new environment")
    accuracy: Weight = Field(default=Weight.REGRESSION, description="a ratio of error to bound left its band upwards")
    time: Weight = Field(default=Weight.REGRESSION, description="beyond what repeated runs of one side differ by")
    memory: Weight = Field(default=Weight.REGRESSION, description="beyond what repeated runs of one side differ by")
    advice: Weight = Field(default=Weight.REGRESSION, description="what was advised for a model is not right any more")
    message: Weight = Field(default=Weight.CHANGE, description="an error has another type, text or phase")
    kernels: Weight = Field(default=Weight.CHANGE, description="torch chooses other kernels, and the result is right")
    dtype: Weight = Field(default=Weight.CHANGE, description="other parameters stay in float32; the result is right")
    figures: Weight = Field(default=Weight.CHANGE, description="a figure by which a claim is judged is another")
    dials: Weight = Field(default=Weight.CHANGE, description="a dial of attention reads otherwise; the verdict stands")
    eager: Weight = Field(default=Weight.CHANGE, description="what eager attention itself computes moved: to be read")


class Matters(_Table):
    """The cells that this team runs; of what is left empty all. Patterns as in `gemma*`."""

    architectures: tuple[str, ...] = ()
    dtypes: tuple[Dtype, ...] = ()
    backends: tuple[str, ...] = Field(default=(), description="as the matrix calls them: sdpa, sdpa (flash), …")

    def includes(self, architecture: str, dtype: str, backend: str) -> bool:
        """Whether a cell is one of them."""
        pairs = ((self.architectures, architecture), (self.dtypes, dtype), (self.backends, backend))
        return all(not patterns or any(fnmatchcase(one, pattern) for pattern in patterns) for patterns, one in pairs)

    def includes_architecture(self, architecture: str) -> bool:
        """Whether some cell of an architecture may be one of them."""
        return not self.architectures or any(fnmatchcase(architecture, pattern) for pattern in self.architectures)


class Within(_Table):
    """By how much numbers may differ."""

    accuracy_factor: float = Field(default=Bands().accuracy_factor, ge=1, allow_inf_nan=False)
    accuracy_step: float = Field(default=Bands().accuracy_step, ge=0, allow_inf_nan=False)
    time_factor: float = Field(default=Bands().time_factor, ge=1, allow_inf_nan=False, description="of the noise")
    memory_factor: float = Field(default=Bands().memory_factor, ge=1, allow_inf_nan=False, description="of the noise")

    @property
    def bands(self) -> Bands:
        """The same for a comparison."""
        return Bands(**self.model_dump())


class Policy(_Table):
    """The whole of it."""

    strict: bool = Field(default=False, description="whether an expectation that is out of date fails the gate")
    counts: Counts = Counts()
    matters: Matters = Matters()
    within: Within = Within()

    def kind_of(self, kind: Kind, aspect: Aspect) -> Kind | None:
        """What a difference is to this team; None where it is left out."""
        weight = dict(self.counts).get(aspect.value)
        if kind not in (Kind.REGRESSION, Kind.CHANGE) or weight is None:
            return kind
        if weight is Weight.IGNORE:
            return None
        return Kind(weight.value) if kind is Kind.REGRESSION or aspect in _NEVER_WORSE else kind


def read_policy(path: Path | None) -> Policy:
    """The policy in a TOML file, its own or a project's; without a path that of the project in the current folder.

    Raises:
        UsageError: the file cannot be read, or says something that a policy does not know.
    """
    if path is None:
        if not _PROJECT.is_file():
            return Policy()
        path = _PROJECT
    document: Any = read_toml(path)
    is_project = path.name == _PROJECT.name or "tool" in document
    place = f"{path}: [{'.'.join(_TABLE)}]" if is_project else str(path)
    for name in _TABLE if is_project else ():
        document = document.get(name, {}) if isinstance(document, dict) else document
    if not isinstance(document, dict):
        raise UsageError(f"{place}: must be a table, not {quoted(document)}")
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"{place}: {first_problem(error)}") from None
