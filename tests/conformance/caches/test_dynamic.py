"""The cache that generate() makes by itself."""

from pathlib import Path

from conformance.caches.dynamic import generation_arguments
from tests.rooms import must_hold


def test_generation_runs_with_it_unasked(cache: Path) -> None:
    assert generation_arguments("dynamic") == {}
    assert must_hold("gpt2-float32-sdpa-generate", cache).evidence.caches == ("DynamicCache",)


def test_both_caches_of_an_encoder_decoder_are_named(cache: Path) -> None:
    seen = must_hold("t5-float32-sdpa-left-generate", cache).evidence.caches
    assert seen == ("EncoderDecoderCache(DynamicCache, DynamicCache)",)
