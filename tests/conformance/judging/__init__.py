"""Tests of `conformance/judging/`."""
