from pathlib import Path

import pytest

from detection.files import file_name, parse_json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", "cat"),
        ("traffic light", "traffic light"),
        ("Ampel, rot", "Ampel, rot"),
        ("a/b", "a%2Fb"),
        ("../../x", "..%2F..%2Fx"),
        ("/etc/passwd", "%2Fetc%2Fpasswd"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("..a", "..a"),
        ("", "%"),
        ("a\\b\0\n", "a%5Cb%00%0A"),
        ("100%", "100%25"),
    ],
)
def test_names_of_classes_stay_in_their_folder(text, expected):
    assert file_name(text) == expected
    assert Path(expected).name == expected


def test_different_names_are_different_files():
    names = ["a/b", "a%2Fb", "a%b", "", "%", "%25", "é" * 300, "é" * 299, "x" * 150, "x" * 151, "x" * 152]
    assert len({file_name(name) for name in names}) == len(names)


def test_long_names_fit(tmp_path):
    for name in ("é" * 300, "x" * 5000, "/" * 200):
        assert len(file_name(name).encode()) <= 150
        (tmp_path / f"comp4_det_test_{file_name(name)}.txt").touch()


@pytest.mark.parametrize("text", ["[" * 100_000, b"{", "", "[1] 2", "9" * 5000])
def test_what_is_not_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"nest|Expecting|Extra|digits"):
        parse_json(text)
    assert parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
