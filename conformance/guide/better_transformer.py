"""BetterTransformer (G7 to G9, G17)."""
