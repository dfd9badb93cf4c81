"""How a process begins, named by the one that starts it: that one never imports torch, which `serving` does."""

import os
from importlib import import_module
from typing import Any


def call(what: str, *arguments: Any) -> None:
    """Call a function of `conformance.advising.serving`. What libraries print there is noise to whoever asked."""
    discard_streams()
    getattr(import_module("conformance.advising.serving"), what)(*arguments)


def discard_streams() -> None:
    """From here on nothing of this process is printed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
