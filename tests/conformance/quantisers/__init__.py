"""Tests of `conformance/quantisers/`."""
