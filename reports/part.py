"""What all documents of this package have in common."""

from pydantic import BaseModel, ConfigDict

# Many times what the suite writes: a message is cut at 4,000 characters when it is recorded.
LONGEST_TEXT = 100_000  # characters


class Part(BaseModel):
    """A document, or a part of one. JSON has no NaN; the words for it survive a round trip and a browser."""

    model_config = ConfigDict(ser_json_inf_nan="strings", str_max_length=LONGEST_TEXT)
