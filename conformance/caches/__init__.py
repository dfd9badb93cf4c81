"""Caches, done: a file for each. What each is: `matrix/caches/`."""
