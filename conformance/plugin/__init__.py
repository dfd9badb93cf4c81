"""pytest and xdist around the suite: options, collection, workers, recording. Imports torch only where a cell runs."""
