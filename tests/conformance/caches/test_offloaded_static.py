"""A static cache that waits in the memory of the CPU: what it shares with one that grows is tested with that."""

from conformance.caches.offloaded_static import generation_arguments


def test_it_is_asked_for_in_the_words_of_the_library() -> None:
    assert generation_arguments("offloaded_static")["cache_implementation"] == "offloaded_static"
