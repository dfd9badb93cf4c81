"""Tests of `conformance/workloads/`."""
