"""What the libraries say while a model is loaded and runs."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def said() -> Iterator[dict[str, None]]:
    """Keep Python warnings and the libraries' log warnings, each once and in order, instead of printing them."""
    found: dict[str, None] = {}
    handler = _Keep(found)
    loggers = [logging.getLogger(name) for name in ("transformers", "bitsandbytes", "accelerate")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        found |= dict.fromkeys(_text(warning.message.__str__, warning.category.__name__) for warning in caught)


class _Keep(logging.Handler):
    def __init__(self, kept: dict[str, None]) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept[_text(record.getMessage, record.msg if isinstance(record.msg, str) else record.name)] = None


def _text(read: Callable[[], str], otherwise: str) -> str:
    """What is read, or something else where reading it raises: nobody would have read it if it were not kept."""
    try:
        return read()
    except Exception:
        return otherwise
