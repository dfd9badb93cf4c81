"""What is done to a model before it runs: a file for each. How each is done: `conformance/transformations/`."""

from matrix.rooms import Transformation, discover

TRANSFORMATIONS = discover(__name__, __path__, Transformation)
