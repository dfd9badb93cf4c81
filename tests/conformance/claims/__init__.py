"""Tests of `conformance/claims/`."""
