"""Adapters on quantised models (G6)."""
