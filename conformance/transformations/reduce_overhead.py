"""The whole model through torch.compile, with CUDA graphs. Scripts carry it along."""

from conformance.transformations import compiled


def transform(model, course):
    """Compile its forward pass in the mode that replays CUDA graphs."""
    return compiled.transform(model, course, "reduce-overhead")
