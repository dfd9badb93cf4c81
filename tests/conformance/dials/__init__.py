"""Tests of `conformance/dials/`."""
