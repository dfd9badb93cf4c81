"""What is tried and what is expected: axes, cells, plans, expectations, verdicts. Never imports torch."""
