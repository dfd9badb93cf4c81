"""The shapes that the published advices are of."""

from pathlib import Path

import pytest
import torch
import transformers

from conformance import advising
from reports.advice import read_advice
from tests.builders import ROOT

SHAPES = Path(advising.__file__).parent / "shapes"
PUBLISHED = sorted((ROOT / "reports" / "published").glob("*-advice-*.json"))


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem.partition("-advice-")[2])
def test_whoever_repeats_a_published_advice_finds_its_shapes(file: Path) -> None:
    model = read_advice(file).model
    config = transformers.AutoConfig.from_pretrained(SHAPES.parent / Path(model.path).parent)
    with torch.device("meta"):
        made = getattr(transformers, model.auto_class).from_config(config)
    assert config.model_type == model.model_type
    assert sum(parameter.numel() for parameter in made.parameters()) == model.parameters


def test_no_shapes_are_of_nothing_that_is_published() -> None:
    of = {read_advice(file).model.name for file in PUBLISHED}
    assert {folder.name for folder in SHAPES.iterdir()} == of
