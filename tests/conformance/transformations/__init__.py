"""Tests of `conformance/transformations/`."""
