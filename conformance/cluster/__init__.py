"""A plan on a Ray cluster. Ray schedules and restarts; what a node does is a run of pytest like any other."""
