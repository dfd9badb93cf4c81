"""Recipes of the guide, tried: a probe for each that `matrix/guide.toml` names one for, of the same name."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from matrix.guide import Recipe, Refusal, Spelling

if TYPE_CHECKING:
    from conformance.lab import Lab

    Probe = Callable[[Lab, Spelling], None]


def load_probes() -> "dict[str, Probe]":
    """Every probe by name. Imports torch and transformers."""
    from conformance.guide import adapters, better_transformer, flash, kernels, placement, quantised

    return {
        name: member
        for module in (flash, adapters, better_transformer, kernels, quantised, placement)
        for name, member in vars(module).items()
        if inspect.isfunction(member) and member.__module__ == module.__name__ and not name.startswith("_")
    }


def try_recipe(recipe: Recipe, spelling: Spelling, refusal: Refusal | None, lab: "Lab") -> str:
    """Run the probe of a recipe; empty if it did what it says, or the documented error that refused it.

    Raises:
        Violated: it did something else, or the documented error did not come.
        Exception: what a library raised that nobody documented.
    """
    from conformance.lab import Violated, raised_by

    try:
        load_probes()[recipe.name](lab, spelling)
    except Violated:
        raise
    except Exception as error:  # whatever a library raises is a measurement
        kind, said = raised_by(error)
        if refusal is None or not refusal.matches(kind, said):
            if refusal is not None:
                error.add_note(f"documented was {refusal}")
            raise
        return f"{kind}: {said.partition(chr(10))[0]}"
    if refusal is not None:
        raise Violated(f"the documented error did not come: {refusal}")
    return ""
