"""Dials: what attention is made of, as knobs that golden can be turned by."""

from conformance.dials import attention, masks, positions, routers
from conformance.dials.catalogue import DIALS, Dial

__all__ = ["DIALS", "Dial", "attention", "masks", "positions", "routers"]
