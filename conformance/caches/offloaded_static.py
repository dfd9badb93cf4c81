"""An offloaded static cache through `generate`. Scripts carry it along."""

import transformers


def generation_arguments(cache):
    """What `generate` is given; it would compile the model by itself, which is another question."""
    arguments = {"cache_implementation": "offloaded_static"}
    if hasattr(transformers.GenerationConfig(), "disable_compile"):
        arguments["disable_compile"] = True
    return arguments


def kept(cache, states):
    """All of it."""
    return states
