"""An offloaded static cache through `generate`, as a static one but for its name. Scripts carry it along."""

from conformance.caches.static import generation_arguments, kept

__all__ = ["generation_arguments", "kept"]
