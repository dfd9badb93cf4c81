"""What somebody names of releases: each form is read as it is meant, and nothing else is read at all."""

import pytest
from packaging.version import Version

from matrix.errors import UsageError
from matrix.releases import (
    Pin,
    companions_of,
    in_range,
    last_of_each_minor,
    parse_companions,
    parse_pin,
    parse_range,
)


def versions(*texts: str) -> list[Version]:
    return [Version(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("transformers==5.24.0", Pin("transformers", "5.24.0")),
        (" Flash_Attn == 2.8.3.post1 ", Pin("flash-attn", "2.8.3.post1")),
        ("torch==2.13.0+cpu", Pin("torch", "2.13.0+cpu")),
        ("transformers==5.24.0-rc1", Pin("transformers", "5.24.0rc1")),
    ],
)
def test_a_pin_is_read_as_indexes_write_it(text: str, pin: Pin) -> None:
    assert parse_pin(text) == pin
    assert parse_pin(str(pin)) == pin


@pytest.mark.parametrize(
    "text",
    ["", "==1", "a==", "a==b", "a[b]==1", "a==1; python_version>'3'", "a @ file:///b", "-e a==1"],
)
def test_what_is_no_pin_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError, match=r"--to .*: must be name==version, as in transformers==5.24.0"):
        parse_pin(text)


@pytest.mark.parametrize(
    "text", ["transformers", "transformers>=5", "transformers===5", "transformers==5.*", "transformers==5,==5.1"]
)
def test_a_pin_names_one_release(text: str) -> None:
    with pytest.raises(UsageError, match=r"must name one release, as in transformers==1\.2\.3"):
        parse_pin(text)


def test_a_range_has_a_name_and_bounds() -> None:
    wanted = parse_range("Flash_Attn>=2.7,<2.9")
    assert wanted.name == "flash-attn"
    assert wanted.specifier.contains("2.8.3")
    with pytest.raises(UsageError, match=r"--sweep 'transformers': must bound the releases"):
        parse_range("transformers")
    with pytest.raises(UsageError, match=r"must be name and range, as in transformers>=4.48,<5.25"):
        parse_range(">=4.48")
    with pytest.raises(UsageError, match=r"--bisect 'a>b': must be name and range"):
        parse_range("a>b", "--bisect")


def test_the_newest_patch_of_every_minor_is_chosen_without_pre_releases() -> None:
    available = versions("5.0.0", "4.48.3", "4.49.0", "4.48.10", "5.0.1rc1", "4.50.0.dev0", "5.1.0", "4.48.2", "3.9")
    wanted = parse_range("transformers>=4.48,<5.1")
    assert last_of_each_minor(available, wanted.specifier) == versions("4.48.10", "4.49.0", "5.0.0")
    assert in_range(available, wanted.specifier) == versions("4.48.2", "4.48.3", "4.48.10", "4.49.0", "5.0.0")


def test_a_post_release_is_the_newest_of_its_minor() -> None:
    specifier = parse_range("bitsandbytes>=0.40").specifier
    assert last_of_each_minor(versions("0.40.0", "0.40.0.post4"), specifier) == versions("0.40.0.post4")


def test_companions_go_with_their_part_of_the_range_and_the_first_word_counts() -> None:
    said = [
        parse_companions("transformers<4.50: peft==0.15.2 accelerate==1.4.0"),
        parse_companions("transformers<5: peft==0.17"),
    ]
    assert companions_of(Pin("transformers", "4.48.3"), said) == (Pin("peft", "0.15.2"), Pin("accelerate", "1.4.0"))
    assert companions_of(Pin("transformers", "4.57.6"), said) == (Pin("peft", "0.17"),)
    assert companions_of(Pin("transformers", "5.0.0"), said) == ()
    assert companions_of(Pin("tokenizers", "0.20"), said) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("transformers<5", "must be a range and what goes with it"),
        ("transformers<5:", "must be a range and what goes with it"),
        ("transformers: peft==1", "must bound the releases"),
        ("transformers<5: peft", "'peft': must name one release"),
        ("transformers<5: peft==1 PEFT==2", "names a package twice"),
        ("transformers<5: transformers==4.50", "names a package twice"),
    ],
)
def test_what_goes_with_no_range_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_companions(text)
    assert said in str(refused.value)
    assert str(refused.value).startswith("--with ")
