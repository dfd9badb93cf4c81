"""Device maps, done: a file for each. What each is: `matrix/placements/`."""
