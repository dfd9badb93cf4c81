"""A static cache through `generate`. Scripts carry it along."""

import transformers

from conformance.caches.dynamic import kept

__all__ = ["generation_arguments", "kept"]


def generation_arguments(cache):
    """What `generate` is given; it would compile the model for a static cache by itself, which is another question."""
    arguments = {"cache_implementation": str(cache)}
    if hasattr(transformers.GenerationConfig(), "disable_compile"):
        arguments["disable_compile"] = True
    return arguments
