"""Tests of `conformance/placements/`."""
