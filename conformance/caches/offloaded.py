"""An offloaded cache through `generate`. Scripts carry it along."""


def generation_arguments(cache):
    """What `generate` is given."""
    return {"cache_implementation": "offloaded"}


def kept(cache, states):
    """All of it."""
    return states
