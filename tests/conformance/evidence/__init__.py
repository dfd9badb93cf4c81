"""Tests of `conformance/evidence/`."""
