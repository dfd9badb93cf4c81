"""The choice of an SDPA kernel (G10, G11, G17)."""
