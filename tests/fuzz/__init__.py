"""Bounded fuzzing of every parser: `python -m tests.fuzz`.

Inputs come from a seeded `random.Random`, not from hypothesis: most are bytes of real files with something broken in
them, of which hypothesis has no strategy; a hundred thousand take minutes, in which hypothesis makes a tenth; and the
input of a number is the same on every machine, without a database.
"""
