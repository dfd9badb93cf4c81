"""The guide's claims, measured: what `matrix.claims` judges."""
