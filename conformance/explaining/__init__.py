"""What a good engineer would do next with a cell that failed: say where it raised, and where wrong numbers begin."""
