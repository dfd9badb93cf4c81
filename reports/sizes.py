"""Size by quantisation: how many bytes the weights of each architecture take, as drawn bars and as numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

from matrix.axes import Dtype
from matrix.cell import SILENT
from matrix.observation import Phase
from matrix.quantisers import QUANTISATIONS
from matrix.workloads import WORKLOADS
from reports.document import Record

_LARGEST = 2**60  # bytes; what claims to be larger is no measurement
# Weights that are dequantised, cast or merged with others are not those of the format any more.
_CHANGED = {name for name, one in WORKLOADS.items() if {Phase.TRANSFORM, Phase.SAVE} & set(one.phases)}


@dataclass(frozen=True)
class Size:
    """The weights of one architecture in one format."""

    quantisation: str
    mebibytes: float
    share: float  # of the unquantised weights in the same dtype


@dataclass(frozen=True)
class Sizes:
    """One architecture in one dtype."""

    architecture: str
    dtype: str
    by_quantisation: tuple[Size, ...]  # unquantised first


def sizes(records: Iterable[Record]) -> list[Sizes]:
    """For each architecture the 16-bit dtype in which the most formats were measured, unquantised among them."""
    measured: dict[str, dict[str, dict[str, int]]] = {}
    for record in records:
        weight_bytes = record.observation.evidence.weight_bytes
        axes = record.axes
        if 0 < weight_bytes < _LARGEST and axes["workload"] not in _CHANGED:
            formats = measured.setdefault(axes["architecture"], {}).setdefault(axes["dtype"], {})
            # Offloaded weights may be counted in part; the whole is the most that was seen.
            formats[axes["quantisation"]] = max(weight_bytes, formats.get(axes["quantisation"], 0))
    found = []
    for architecture, by_dtype in measured.items():
        usable = [
            (len(by_dtype[dtype]), dtype.value)
            for dtype in (Dtype.FLOAT16, Dtype.BFLOAT16)
            if SILENT["quantisation"] in by_dtype.get(dtype, {}) and len(by_dtype[dtype]) > 1
        ]
        if usable:
            dtype = max(usable)[1]
            found.append(_sizes(architecture, dtype, by_dtype[dtype]))
    return found


def _sizes(architecture: str, dtype: str, by_format: dict[str, int]) -> Sizes:
    whole = by_format[SILENT["quantisation"]]
    named = [name for name in QUANTISATIONS if name in by_format]
    return Sizes(architecture, dtype, tuple(Size(n, by_format[n] / 2**20, by_format[n] / whole) for n in named))
