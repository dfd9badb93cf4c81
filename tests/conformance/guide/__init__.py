"""Tests of `conformance/guide/`."""
