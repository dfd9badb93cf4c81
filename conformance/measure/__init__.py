"""One cell in, one observation out. The only part of the suite that knows torch and transformers."""
