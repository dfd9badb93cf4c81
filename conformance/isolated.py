"""`python -m conformance.isolated MODULE:FUNCTION FIXTURE_CACHE FLASH_ATTENTION`: what `Lab.isolated` starts."""

import sys
from importlib import import_module
from pathlib import Path

from conformance.lab import Lab
from matrix.architectures import load_architectures
from matrix.stack import detect_stack


def main() -> None:
    """Run the function with a laboratory of its own."""
    place, cache, flash_attention = sys.argv[1:]
    module, _, function = place.partition(":")
    lab = Lab(detect_stack(), Path(cache), load_architectures(), flash_attention=flash_attention)
    getattr(import_module(module), function)(lab)


if __name__ == "__main__":
    main()
