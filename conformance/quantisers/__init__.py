"""Quantisers, done: a file for each. What each is: `matrix/quantisers/`."""
