"""Seeded faults: what real bugs did, done on purpose, to show that the oracle sees it."""

# Each puts its faults on the list.
from conformance.faults import (  # noqa: F401
    attention,
    decoding,
    experts,
    formats,
    placements,
    processes,
    quantised,
    weights,
)
from conformance.faults.catalogue import FAULTS, Fault, find

__all__ = ["FAULTS", "Fault", "find"]
