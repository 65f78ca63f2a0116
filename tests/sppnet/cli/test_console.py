"""What tools say while they work."""

import json

from tests import commands


def test_quiet_is_silent_on_stderr_and_keeps_the_result(work, capfd):
    assert commands.test_net([*work.data, "--overwrite", "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert "mAP" in out
    assert err == ""


def test_json_lines_can_be_read_by_machines(work, capfd):
    assert commands.extract_features([*work.extract, "--overwrite", "--log-format", "json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert {"time", "level", "logger", "message"} == set(lines[0])
    assert any("proposals of" in line["message"] for line in lines)
    assert {line["level"] for line in lines} == {"info"}


def test_levels_leave_lines_out(work, capfd):
    assert commands.test_net([*work.data, "--overwrite", "--log-level", "debug"]) == 0
    told = capfd.readouterr().err
    assert commands.test_net([*work.data, "--overwrite", "--log-level", "error"]) == 0
    assert "reading" in told
    assert "reading" not in capfd.readouterr().err
