"""Tests of `conformance/plugin/`."""
