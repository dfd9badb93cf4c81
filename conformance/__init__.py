"""The suite: it runs cells and holds what happened against what should happen."""
