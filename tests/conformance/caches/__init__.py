"""Tests of `conformance/caches/`."""
