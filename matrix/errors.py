"""The one exception for input that a person can put right."""


class UsageError(ValueError):
    """Bad input: the message names the value, and the allowed values or the place to mend."""
