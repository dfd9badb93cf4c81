"""The cache that `generate` makes by itself. Scripts carry it along."""


def generation_arguments():
    """Nothing."""
    return {}
