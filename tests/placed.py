"""What the tests of placements share."""

from typing import Any

import torch
import transformers

from tests.builders import ARCHITECTURES


def empty(name: str) -> Any:
    """An architecture's model without memory for its weights."""
    architecture = ARCHITECTURES[name]
    config = transformers.AutoConfig.for_model(architecture.model_type, **architecture.config)
    with torch.device("meta"):
        return getattr(transformers, architecture.auto_class).from_config(config)
