"""A failing cell made small: what decides it is left, and a script that a maintainer wants to read."""
