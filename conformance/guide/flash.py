"""FlashAttention-2 (G1 to G6)."""
