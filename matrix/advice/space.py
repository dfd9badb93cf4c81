"""The configurations that may be tried of a model, wave by wave: each builds on what was best in the one before."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from matrix.advice.wanted import Prefer, Wanted
from matrix.architectures import Architecture, Kind
from matrix.axes import Attention, Dtype, Padding, SdpaKernel
from matrix.caches import CACHES
from matrix.cell import Cell, make_cell
from matrix.constraints import why_impossible
from matrix.expectation import Outcome, Rule, expect
from matrix.placements import PLACEMENTS
from matrix.quantisers import QUANTISATIONS
from matrix.stack import Device, Stack
from matrix.transformations import TRANSFORMATIONS

_BY_GENERATE = "generate_compiles"
_RECORDED = "reduce_overhead"
_IN_ANOTHER = 2


@dataclass(frozen=True)
class Configuration:
    """What is pasted: a cell, and whether `generate` is left to compile the model by itself, which no cell lets it."""

    cell: Cell
    by_generate: bool = False

    @property
    def compiles(self) -> bool:
        """Whether that takes longer than all the rest."""
        return self.by_generate or self.cell.transformation.compiles or self.cell.attention is Attention.FLEX_ATTENTION

    @property
    def name(self) -> str:
        """Short and readable, such as `bfloat16-sdpa-flash-static`; of one architecture it is unique."""
        whole = self.cell.id.removeprefix(f"{self.cell.architecture}-").removesuffix(f"-{self.cell.workload}")
        plain = whole.removesuffix(f"-{self.cell.padding}")
        cache = "" if self.cell.cache == "dynamic" else f"-{self.cell.cache}"
        if cache and self.cell.padding is not Padding.NONE:
            plain = whole.replace(f"-{self.cell.padding}{cache}", cache)
        return f"{plain}-{_BY_GENERATE}" if self.by_generate else plain


@dataclass(frozen=True)
class Model:
    """What must be known of a model before anything of it is loaded."""

    architecture: Architecture
    parameters: int
    default: Configuration  # what from_pretrained(path) and generate() do by themselves
    reads: bool = True  # whether its weights are real: else nothing is known of what quantisation costs
    fits: bool = True  # whether its weights fit on the device

    @property
    def generates(self) -> bool:
        """Whether tokens come out."""
        return self.architecture.kind is not Kind.ENCODER


class Absence(StrEnum):
    """Why a configuration is not tried."""

    NOT_HERE = "not here"
    REFUSED = "refused"


@dataclass(frozen=True)
class Untried:
    """A configuration that is not tried, and why."""

    configuration: Configuration
    absence: Absence
    why: str


Wave = tuple[tuple[Configuration, ...], tuple[Untried, ...]]


def padding_of(architecture: Architecture) -> Padding:
    """How rows of one batch are made equally long, where they can be."""
    side = Padding.LEFT if architecture.kind is Kind.DECODER else Padding.RIGHT
    return side if architecture.cannot_pad(side) is None else Padding.NONE


def plain_cell(architecture: Architecture, dtype: str, attention: str, kernel: str = "unpinned") -> Cell:
    """With nothing but a dtype and a backend."""
    return make_cell(
        architecture.name,
        dtype=dtype,
        attention=attention,
        sdpa_kernel=kernel,
        padding=padding_of(architecture),
        workload="prefill" if architecture.kind is Kind.ENCODER else "generate",
    )


def dtypes_first(model: Model, stack: Stack) -> tuple[Dtype, ...]:
    """A GPU computes both halves alike, and float32 slower than either: there one half comes first, alone."""
    own = Dtype(str(model.default.cell.dtype))
    if stack.device is Device.CUDA:
        return (Dtype.BFLOAT16 if own is Dtype.FLOAT32 else own,)
    return tuple(dict.fromkeys((own, Dtype.FLOAT32, Dtype.BFLOAT16, Dtype.FLOAT16)))


def backends_first(model: Model, stack: Stack, rules: Collection[Rule]) -> Wave:
    """Every backend, the library's own choice first; what does not fit is spread by a device_map."""
    return _backends(dtypes_first(model, stack), model, stack, rules)


def in_the_other_half(best: Sequence[Configuration], model: Model, stack: Stack, rules: Sequence[Rule]) -> Wave:
    """On a GPU the best two in the other half; every backend, where none was right in the first.

    Args:
        best: all that were timed so far, the best first.
    """
    if stack.device is not Device.CUDA:
        return (), ()
    (first,) = dtypes_first(model, stack)
    other = Dtype.FLOAT16 if first is Dtype.BFLOAT16 else Dtype.BFLOAT16
    right = [one for one in best if one.cell.dtype is first]
    if not right:
        return _backends((other,), model, stack, rules)
    found = [replace(one, cell=replace(one.cell, dtype=other)) for one in right[:_IN_ANOTHER]]
    return _sorted_out(found, model, stack, rules)


def _backends(dtypes: Sequence[Dtype], model: Model, stack: Stack, rules: Collection[Rule]) -> Wave:
    backends = [
        (attention, kernel)
        for attention in Attention
        for kernel in (SdpaKernel if attention is Attention.SDPA else (SdpaKernel.UNPINNED,))
    ]
    # What most people take comes first: the time may not do for all. To a CPU the dtype matters more than the backend.
    backends.sort(key=lambda backend: (backend[0] is Attention.FLEX_ATTENTION, backend[1] is not SdpaKernel.UNPINNED))
    if stack.device is Device.CUDA:  # where what compiles is tried among the ways to run
        backends = [backend for backend in backends if backend[0] is not Attention.FLEX_ATTENTION]
    pairs = [(dtype, backend) for backend in backends for dtype in dtypes]
    cells = [plain_cell(model.architecture, dtype, attention, kernel) for dtype, (attention, kernel) in pairs]
    if not model.fits:
        cells = [
            replace(cell, device_map=PLACEMENTS[name])
            for cell in cells
            for name in ("auto", "cpu_offload")
            if cell.sdpa_kernel is SdpaKernel.UNPINNED
        ]
    return _sorted_out([model.default, *map(Configuration, cells)], model, stack, rules)


def ways_to_run(
    best: Sequence[Configuration], model: Model, wanted: Wanted, stack: Stack, rules: Sequence[Rule]
) -> Wave:
    """The best of the first wave with other caches, compiled, or transformed; what records CUDA graphs comes first."""
    scarce = wanted.prefer is Prefer.MEMORY or wanted.memory is not None
    # An offloaded cache is never faster; one that rounds costs a quality that is not measured here.
    caches = [one for one in CACHES.values() if not one.rounds and (scarce or "offloaded" not in one)]
    # What generate compiles by itself is recorded; elsewhere than on a GPU it compiles nothing.
    recorded = model.generates and stack.device is Device.CUDA
    found = [Configuration(replace(one.cell, cache=CACHES["static"]), by_generate=True) for one in best if recorded]
    ways = [one for one in TRANSFORMATIONS.values() if one != _RECORDED]
    if not model.generates:
        ways.insert(0, TRANSFORMATIONS[_RECORDED])
    for transformation in ways:
        for cache in caches:
            found += [Configuration(replace(one.cell, transformation=transformation, cache=cache)) for one in best]
    if stack.device is Device.CUDA:
        found += [
            Configuration(replace(one.cell, attention=Attention.FLEX_ATTENTION, sdpa_kernel=SdpaKernel.UNPINNED))
            for one in best
        ]
    return _sorted_out([one for one in found if one not in best], model, stack, rules)


def in_fewer_bits(best: Configuration, model: Model, stack: Stack, rules: Sequence[Rule]) -> Wave:
    """The best backend with every quantiser."""
    cell = replace(best.cell, transformation=TRANSFORMATIONS["none"], cache=CACHES["dynamic"])
    # What has to be written in a format first is another checkpoint, and no way to load this one.
    ways = [one for one in QUANTISATIONS.values() if one.stored_as and not one.written]
    found = [Configuration(replace(cell, quantisation=one)) for one in ways]
    return _sorted_out(found, model, stack, rules)


def departures(one: Configuration, default: Configuration) -> int:
    """How many things somebody has to say to get it."""
    pairs = zip(one.cell.values, default.cell.values, strict=True)
    return sum(ours != theirs for ours, theirs in pairs) + one.by_generate


def eager_of(one: Configuration, architecture: Architecture) -> Configuration:
    """The same dtype in eager attention, with nothing else."""
    return Configuration(plain_cell(architecture, str(one.cell.dtype), Attention.EAGER))


def _sorted_out(found: Iterable[Configuration], model: Model, stack: Stack, rules: Collection[Rule]) -> Wave:
    tried: list[Configuration] = []
    untried: list[Untried] = []
    for one in dict.fromkeys(found):
        if why_impossible(one.cell, model.architecture) is not None:
            continue
        absent = next(_absences(one, stack, rules), None)
        if absent is None:
            tried.append(one)
        else:
            untried.append(absent)
    return tuple(tried), tuple(untried)


def _absences(one: Configuration, stack: Stack, rules: Collection[Rule]) -> Iterator[Untried]:
    expected = expect(one.cell, stack, rules)
    if expected.outcome is Outcome.UNAVAILABLE:
        yield Untried(one, Absence.NOT_HERE, f"needs {', '.join(expected.missing)}")
    elif expected.outcome is Outcome.REFUSED:
        yield Untried(one, Absence.REFUSED, f"{expected.type}: documented, {expected.source}")
