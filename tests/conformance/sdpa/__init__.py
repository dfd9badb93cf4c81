"""Tests of `conformance/sdpa/`."""
