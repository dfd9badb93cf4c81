"""What to run, decided from measurements: pure functions. What measures is `conformance/advising/`."""
