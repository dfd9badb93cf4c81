"""How a run is judged: references, precision, and the numbers that the oracle is given."""
