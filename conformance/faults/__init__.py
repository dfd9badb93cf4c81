"""Seeded faults: what real bugs did, done on purpose, to show that the oracle sees it."""

from conformance.faults import attention, decoding, experts, placements, weights  # noqa: F401 - each puts its faults on the list
from conformance.faults.catalogue import FAULTS, Fault, find

__all__ = ["FAULTS", "Fault", "find"]
