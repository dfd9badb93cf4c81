"""Transformations, done: a file for each. What each is: `matrix/transformations/`."""
