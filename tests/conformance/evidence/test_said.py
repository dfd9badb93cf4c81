"""What the libraries say is kept, be it readable or not, and never stops them."""

import logging
import warnings

from conformance.evidence.said import said


def test_warnings_and_log_messages_are_kept_once_and_in_order() -> None:
    with said() as kept:
        for _ in range(2):
            logging.getLogger("transformers.modeling_utils").warning("%d of %d", 1, 2)
        warnings.warn("old", stacklevel=1)
    assert list(kept) == ["1 of 2", "old"]


def test_what_cannot_be_read_is_kept_by_what_it_is_and_harms_nobody() -> None:
    logger = logging.getLogger("transformers")
    before = logger.handlers, logger.propagate
    with said() as kept:
        logger.warning("%d tokens", "no")  # pytest's own handler would raise
    assert (logger.handlers, logger.propagate) == before
    assert list(kept) == ["%d tokens"]


def test_what_a_process_wants_none_of_is_kept_all_the_same_and_stays_off_after() -> None:
    logger = logging.getLogger("transformers.quantizers")
    logging.disable(logging.WARNING)
    try:
        with said() as kept:
            logger.warning("we will default to dequantizing")
        assert not logger.isEnabledFor(logging.WARNING)
    finally:
        logging.disable(logging.NOTSET)
    assert list(kept) == ["we will default to dequantizing"]
