"""Caches that a generation can run with: a file for each. How each is done: `conformance/caches/`."""

from matrix.rooms import Cache, discover

CACHES = discover(__name__, __path__, Cache)
