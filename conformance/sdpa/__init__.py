"""Properties of `scaled_dot_product_attention`: generated calls, and the oracle of one call."""
