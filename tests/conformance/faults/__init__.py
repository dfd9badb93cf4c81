"""Tests of `conformance/faults/`."""
