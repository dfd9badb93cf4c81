"""Architectures that nobody typed: every type of the installed transformers, made small."""
