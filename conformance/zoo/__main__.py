"""`python -m conformance.zoo FILE [CHECKPOINT]`: write down what must be known of every type of the installed library.

Or of one checkpoint.
"""

import json
import multiprocessing
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from conformance.zoo.census import entries, known_of, quiet
from conformance.zoo.checkpoint import known_of_checkpoint


def main(path: Path, checkpoint: Path | None = None) -> None:
    """Look at every type, in as many processes as there are cores, or at the checkpoint."""
    if checkpoint is not None:
        quiet()
        found: list[dict[str, Any] | None] = [known_of_checkpoint(checkpoint)]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=quiet) as pool:
            found = list(pool.map(known_of, entries(), chunksize=4))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump([one for one in found if one is not None], file, indent=1)
    os.replace(file.name, path)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
