"""Tests of `conformance/trouble/`."""
