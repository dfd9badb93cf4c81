"""What all documents of this package have in common."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A document, or a part of one. JSON has no NaN; the words for it survive a round trip and a browser."""

    model_config = ConfigDict(ser_json_inf_nan="strings")
