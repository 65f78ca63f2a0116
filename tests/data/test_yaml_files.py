"""YAML that was made to do harm ends in one line, at once, wherever YAML is read."""

import pytest

from data import datasets
from data.yaml_files import LARGEST, load_yaml
from sppnet.cli.execution import read_config
from sppnet.report.run_files import recorded
from sppnet.settings import TrainSettings
from tests.data.test_yolo import BOX, photo, write

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
HARM = {
    "aliases": (f"{LAUGHS}names: *i\ntrain: .\n", f"aliases make more than {LARGEST:,} values"),
    "merged": (LAUGHS.replace("[", "{k: [").replace("]", "]}") + "names: *i\n", "aliases make more than"),
    "itself": ("names: &a [*a]\ntrain: .\n", "contains itself"),
    "nested": (f"names: {'[' * 20_000}{']' * 20_000}\n", "nested too deeply"),
    "object": ("names: !!python/object/apply:os.system [echo harm]\n", "could not determine a constructor"),
    "two": ("names: [a]\n---\nnames: [b]\n", "expected a single document"),
}
each = pytest.mark.parametrize(("text", "message"), HARM.values(), ids=HARM.keys())


@each
def test_harm_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        load_yaml(text)


@each
def test_the_file_is_named(tmp_path, text, message):
    write(tmp_path / "data.yaml", text)
    photo(tmp_path / "a.png")
    write(tmp_path / "a.txt", BOX)
    with pytest.raises(ValueError, match=rf"data\.yaml: .*{message}"):
        datasets.load(tmp_path, "train")
    with pytest.raises(ValueError, match=rf"data\.yaml: expected YAML.*{message}"):
        read_config(tmp_path / "data.yaml", TrainSettings)


@each
def test_the_report_leaves_such_a_file_out(tmp_path, caplog, text, message):
    write(tmp_path / "train.yaml", text)
    assert recorded(tmp_path) == ({}, None)
    assert "train.yaml: ignored, it cannot be read" in caplog.text


def test_usual_aliases_are_read():
    assert load_yaml("a: &x [1, 2]\nb: *x\nc: {<<: {d: 1}, e: null}\n") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 1, "e": None},
    }
    assert load_yaml("") is None
    assert load_yaml("# nothing\n") is None
