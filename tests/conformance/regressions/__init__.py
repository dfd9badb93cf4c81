"""Tests of `conformance/regressions/`."""
