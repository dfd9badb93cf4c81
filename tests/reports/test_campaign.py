"""What a campaign has written is read, and nothing else."""

from pathlib import Path

import pytest

from matrix.errors import UsageError
from reports.campaign import read_campaign
from reports.dials import COMMAND, DialPower


def test_another_file_is_named_with_the_command_that_did_not_write_it(tmp_path: Path) -> None:
    (tmp_path / "dials.json").write_text('{"trials": 3}')
    with pytest.raises(UsageError, match=r"dials.json: not what python -m conformance.dial_power writes"):
        read_campaign(tmp_path / "dials.json", DialPower, COMMAND)
