"""Reported failures, tried again: a probe for each row of `matrix/regressions.toml`, of the same name."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from matrix.regressions import Regression

if TYPE_CHECKING:
    from conformance.lab import Lab

    Probe = Callable[[Lab], None]


def load_probes() -> "dict[str, Probe]":
    """Every probe by name. Imports torch and transformers."""
    from conformance.regressions import (
        backends,
        better_transformer,
        causality,
        decoding,
        formats,
        kernels,
        offloading,
        overflow,
        padding,
        positions,
        quantisation,
        tensor_parallel,
        training,
        windows,
    )

    modules = (padding, causality, windows, decoding, positions, kernels, backends)
    modules += (quantisation, formats, training, offloading, overflow, better_transformer, tensor_parallel)
    return {
        name: member
        for module in modules
        for name, member in vars(module).items()
        if inspect.isfunction(member) and member.__module__ == module.__name__ and not name.startswith("_")
    }


def try_again(regression: Regression, lab: "Lab") -> str:
    """Run the probe of a row.

    Returns where the failure is gone: what the library says, type and first line, where it refuses the combination in
    the words that the row allows; or nothing, where the probe passes.

    Raises:
        Violated: what was reported still happens; the message holds the values.
        Exception: the library raised something else, which counts as the failure too.
    """
    from conformance.lab import Violated, raised_by

    probe = load_probes()[regression.name]
    try:
        probe(lab)
    except Violated:
        raise
    except Exception as error:  # whatever a library raises is a measurement
        if not regression.is_refusal(error):
            raise
        kind, said = raised_by(error)
        return f"{kind}: {said.partition(chr(10))[0]}"
    return ""
