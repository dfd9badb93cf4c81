"""Formats of weights: a file for each quantiser. How each is done: `conformance/quantisers/`."""

from matrix.rooms import Quantisation, discover

QUANTISATIONS = discover(__name__, __path__, Quantisation)
