"""`sppnet`: its help, its words, `--config`, exit codes and reports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sppnet import __version__
from sppnet.cli import main
from sppnet.cli.table import ENTRIES, Family, walk
from tests import commands

ROOT = Path(__file__).parents[3]


def test_the_overview_fits_on_one_screen(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert all(f"  {name} " in text for name in ENTRIES)
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if isinstance(e, Family)])
def test_families_list_their_commands(name, capsys):
    assert main([name]) == 0
    text = capsys.readouterr().out
    assert all(f"  {command} " in text for command in ENTRIES[name].commands)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", [name for name, _ in walk()])
def test_help_shows_the_main_options_first_and_fits_80_columns(name, capsys):
    with pytest.raises(SystemExit) as left:
        main([*name.split(), "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: sppnet {name}")
    assert max(map(len, text.splitlines())) <= 80
    if "main options:" in text and "more options:" in text:
        assert text.index("main options:") < text.index("more options:") < text.index("configuration and output:")


@pytest.mark.parametrize(
    ("words", "near"),
    [(["detct"], "'detect'"), (["stage", "train-svm"], "'train-svms'"), (["xyzzy"], "expected one of detect, train")],
)
def test_an_unknown_command_suggests_the_nearest(words, near, capsys):
    assert main(words) == 2
    told = capsys.readouterr()
    assert near in told.err
    assert told.err.count("\n") == 1
    assert not told.out


def test_an_unknown_flag_and_a_wrong_value_are_usage_errors(capsys):
    for words in (
        ["train", "--no-such-flag"],
        ["stage", "train-svms", "--model", "x"],
        ["train", "--scales", "0"],
        ["train", "--seed", "x"],
        ["classifier", "represent", "--seed", "1"],
        ["detect"],
    ):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2
    assert "--scales: expected an integer, at least 1 and at most 8192, got '0'" in capsys.readouterr().err


def test_version_and_module_entry():
    done = subprocess.run([sys.executable, "-m", "sppnet", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == __version__


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_know_commands_and_flags(shell, capsys):
    assert main(["--print-completion", shell]) == 0
    text = capsys.readouterr().out
    assert "train-svms" in text
    assert "--score-threshold" in text
    assert main(["--print-completion", "fish?"]) == 2


def test_a_config_file_supplies_settings_and_flags_win(tmp_path):
    (tmp_path / "c.yaml").write_text("folder: ignored\ntrain: 2\ntest: 3\nseed: 5\n")
    argv = [tmp_path / "set", "--config", tmp_path / "c.yaml", "--test", "1", "--json", tmp_path / "r.json"]
    assert commands.make_minivoc(argv) == 0
    settings = json.loads((tmp_path / "r.json").read_text())["settings"]
    assert settings == {"folder": str(tmp_path / "set"), "train": 2, "test": 1, "seed": 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian: 2\n", "c.yaml: unknown setting 'trian'; did you mean 'train'?"),
        ("train: many\n", "c.yaml: train: expected an integer, got 'many'"),
        ("- train\n", "c.yaml: expected YAML, one `name: value` per line, got list"),
        ("train: [\n", "c.yaml: expected YAML, one `name: value` per line ("),
    ],
)
def test_a_wrong_config_file_is_one_line(text, message, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(text)
    assert commands.make_minivoc([tmp_path / "set", "--config", tmp_path / "c.yaml"]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_a_config_file_with_a_byte_order_mark_or_nothing_in_it_is_read(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbftrain: 1\ntest: 1\n")
    (tmp_path / "empty.yaml").write_text("")
    assert commands.make_minivoc([tmp_path / "a", "--config", tmp_path / "c.yaml"]) == 0
    empty = ["--config", tmp_path / "empty.yaml", "--train", 1, "--test", 1]
    assert commands.make_minivoc([tmp_path / "b", *empty]) == 0


def test_one_config_file_serves_several_commands(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("train: 1\ntest: 1\nbackbone: lite0\nscales: [688]\n")
    assert commands.make_minivoc([tmp_path / "set", "--config", tmp_path / "c.yaml"]) == 0
    assert "settings of other commands, not used here: backbone, scales" in capsys.readouterr().err


def test_every_run_keeps_its_resolved_settings_and_they_give_it_again(work, tmp_path):
    assert commands.test_net([*work.data, "--json", tmp_path / "a.json"]) == 0
    file = work.run / "stage-test-net.yaml"
    settings = yaml.safe_load(file.read_text())
    assert (settings["test_split"], settings["run"], settings["metric"]) == ("test", str(work.run), "voc07")
    assert commands.test_net(["--config", file, "--json", tmp_path / "b.json"]) == 0
    a, b = (json.loads((tmp_path / n).read_text())["result"] for n in ("a.json", "b.json"))
    assert a == b


def test_a_failed_command_leaves_no_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commands.train(["--data", "absent"]) == 1
    assert "absent: no such data set" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_entry_point_can_be_called_again_and_again(tmp_path):
    import sppnet.cli

    for name in ("a", "b"):
        assert sppnet.cli.main(["minivoc", str(tmp_path / name), "--train", "1", "--test", "1"]) == 0


def test_a_config_file_supplies_positional_arguments(devkit, tmp_path):
    (tmp_path / "c.yaml").write_text(f"data: {devkit}\n")
    assert main(["check", "--config", str(tmp_path / "c.yaml"), "--json", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["settings"]["data"] == str(devkit)


@pytest.mark.parametrize(
    ("name", "arguments"), [("minivoc", "[DIR]"), ("weights", "[NAME ...]"), ("classify", "PHOTO|FOLDER|PATTERN ...")]
)
def test_the_usage_line_marks_optional_and_repeated_arguments(name, arguments, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: sppnet {name} {arguments} [options]\n")
