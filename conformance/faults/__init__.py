"""Seeded faults: what real bugs did, done on purpose, to show that the oracle sees it."""

from conformance.faults import attention, decoding, experts, processes, weights  # noqa: F401 - each puts its own on the list
from conformance.faults.catalogue import FAULTS, Fault, find

__all__ = ["FAULTS", "Fault", "find"]
