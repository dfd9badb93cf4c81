"""Tests of `matrix/`."""
