"""Layers from the hub. Scripts carry it along."""


def transform(model, course):
    """Let the library put them in place of the model's own."""
    with course.during("transform"):
        model.set_use_kernels(True)
        return model
