"""An offloaded cache through `generate`. Scripts carry it along."""

from conformance.caches.dynamic import kept

__all__ = ["generation_arguments", "kept"]


def generation_arguments(cache):
    """What `generate` is given."""
    return {"cache_implementation": "offloaded"}
