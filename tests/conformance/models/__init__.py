"""Tests of `conformance/models/`."""
