"""The harness's own tests: they prove that each check can fail."""
