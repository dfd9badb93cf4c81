"""What was really there and what really ran."""
