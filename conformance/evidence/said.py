"""What the libraries say while a model is loaded and runs."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from transformers.utils.logging import warning_once


@contextlib.contextmanager
def said() -> Iterator[dict[str, None]]:
    """Keep Python warnings and the libraries' log warnings, each once and in order, instead of printing them.

    Also where the process has switched them off: what was dequantised at load is right only where somebody said so.
    """
    found: dict[str, None] = {}
    warning_once.cache_clear()  # what was said once in this process was said of another cell
    handler = _Keep(found)
    loggers = [logging.getLogger(name) for name in ("transformers", "bitsandbytes", "accelerate")]
    usual = [(logger.handlers, logger.propagate) for logger in loggers]
    disabled = logging.root.manager.disable
    logging.disable(logging.NOTSET)
    for logger in loggers:
        # No other handler: pytest's raises what it cannot read, into the library.
        logger.handlers, logger.propagate = [handler], False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
    finally:
        logging.disable(disabled)
        for logger, (handlers, propagates) in zip(loggers, usual, strict=True):
            logger.handlers, logger.propagate = handlers, propagates
        found |= dict.fromkeys(str(warning.message) for warning in caught)


class _Keep(logging.Handler):
    def __init__(self, kept: dict[str, None]) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # logging itself would print that, and go on
            message = str(record.msg)
        self._kept[message] = None
