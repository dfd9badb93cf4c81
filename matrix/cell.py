"""One point of the matrix, and the id that names it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from matrix.axes import (
    AXES,
    Attention,
    DeviceMap,
    Dtype,
    Padding,
    Quantisation,
    SdpaKernel,
    Transformation,
    Workload,
)
from matrix.errors import UsageError

ARCHITECTURE_NAME = re.compile(r"[a-z][a-z0-9_]*")

# A value that says "nothing special" is left out of the id. The tokens that remain are unique
# across the axes (a test holds them to it), which is what lets an id be parsed back.
_SILENT: frozenset[StrEnum] = frozenset(
    {SdpaKernel.UNPINNED, Quantisation.NONE, Transformation.NONE, DeviceMap.NONE, Padding.NONE}
)
_TOKENS: dict[str, tuple[str, StrEnum]] = {
    value.value: (axis, value) for axis, values in AXES.items() for value in values if value not in _SILENT
}
SILENT: dict[str, StrEnum] = {axis: value for axis, values in AXES.items() for value in values if value in _SILENT}


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of axis values. Hashable, ordered by plan, the same on every machine."""

    architecture: str
    dtype: Dtype
    attention: Attention
    sdpa_kernel: SdpaKernel = SdpaKernel.UNPINNED
    quantisation: Quantisation = Quantisation.NONE
    transformation: Transformation = Transformation.NONE
    device_map: DeviceMap = DeviceMap.NONE
    padding: Padding = Padding.NONE
    workload: Workload = Workload.PREFILL

    @property
    def values(self) -> tuple[str, ...]:
        """The values in canonical order: the architecture, then those of AXES."""
        backend = (self.dtype, self.attention, self.sdpa_kernel, self.quantisation, self.transformation)
        return (self.architecture, *backend, self.device_map, self.padding, self.workload)

    @property
    def id(self) -> str:
        """Short readable name, such as `llama-bfloat16-sdpa-flash-nf4-left-generate`."""
        architecture, *values = self.values
        return "-".join([architecture, *(value for value in values if value not in _SILENT)])

    def axis_values(self) -> Iterator[tuple[str, str]]:
        """The (axis, value) pairs in canonical order, values as plain strings."""
        for axis, value in zip(("architecture", *AXES), self.values, strict=True):
            yield axis, str(value)

    def __str__(self) -> str:
        return self.id


def parse_cell(cell_id: str) -> Cell:
    """The cell that an id names.

    Raises:
        UsageError: the id has an unknown, repeated, misplaced or missing part.
    """
    architecture, *tokens = cell_id.strip().split("-")
    if not ARCHITECTURE_NAME.fullmatch(architecture):
        raise UsageError(f"cell id {cell_id!r}: {architecture!r} is not the name of an architecture")
    chosen: dict[str, StrEnum] = {}
    order = list(AXES)
    for token in tokens:
        if token not in _TOKENS:
            raise UsageError(f"cell id {cell_id!r}: unknown part {token!r}; allowed are {', '.join(_TOKENS)}")
        axis, value = _TOKENS[token]
        if chosen and order.index(axis) <= max(order.index(seen) for seen in chosen):
            raise UsageError(f"cell id {cell_id!r}: {token!r} is repeated or out of order; the order is {order}")
        chosen[axis] = value
    missing = [axis for axis in order if axis not in chosen and axis not in SILENT]
    if missing:
        raise UsageError(f"cell id {cell_id!r}: no value for {', '.join(missing)}")
    return Cell(architecture, **{**SILENT, **chosen})  # type: ignore[arg-type]
