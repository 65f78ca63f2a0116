"""Values of JSON by annotations: what is right stays as it is, what is wrong is named."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import pytest

from detection.plain_values import MAY_BE_ABSENT, Limits, describe, read


@dataclass(frozen=True)
class Inner:
    side: Annotated[int, Limits(1, 100)]
    deep: bool = field(default=False, metadata=MAY_BE_ABSENT)


@dataclass(frozen=True)
class Outer:
    name: str
    mode: Literal["fast", "good", 3]
    share: Annotated[float, Limits(0, 1, above=True)]
    pair: tuple[int, float]
    sides: Annotated[tuple[Annotated[int, Limits(1, 100)], ...], Limits(1, 3)]
    inner: Inner
    inners: tuple[Inner, ...]
    names: list[str]
    ids: list[int | str | None]
    free: dict[str, Any]
    maybe: Inner | None = None


class Known(TypedDict, total=False):
    side: int
    inner: Inner | None


RIGHT: dict[str, Any] = {
    "name": "a",
    "mode": "good",
    "share": 0.5,
    "pair": [1, 2],
    "sides": [1, 100],
    "inner": {"side": 3},
    "inners": [{"side": 1, "deep": True}],
    "names": ["x"],
    "ids": [1, "b", None],
    "free": {"z": [{}]},
    "maybe": None,
}


def test_right_values_have_the_types_of_their_annotations():
    found = read(Outer, RIGHT)
    expected = Outer(
        "a", "good", 0.5, (1, 2), (1, 100), Inner(3), (Inner(1, True),), ["x"], [1, "b", None], {"z": [{}]}
    )
    assert found == expected
    assert repr(read(float, 2)) == "2"
    assert read(Outer, RIGHT | {"maybe": {"side": 9, "deep": True}}).maybe == Inner(9, True)
    assert read(Outer, RIGHT | {"mode": 3, "share": 1, "sides": [7]}).mode == 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("name", 5, "name: expected text, got 5"),
        ("name", None, "name: expected text, got None"),
        ("mode", "bad", "mode: expected one of fast, good, 3, got 'bad'"),
        ("mode", 3.0, "mode: expected one of fast, good, 3, got 3.0"),
        ("mode", ["fast"], r"mode: expected one of fast, good, 3, got \['fast'\]"),
        ("share", 0, "share: expected a number above 0, at most 1, got 0"),
        ("share", 1.5, "share: expected a number above 0, at most 1, got 1.5"),
        ("share", float("nan"), "share: expected a number above 0, at most 1, got nan"),
        ("share", float("inf"), "share: .* got inf"),
        ("share", 10**400, r"share: .* got 1000\d+\.\.\.\d+"),
        ("share", True, "share: .* got True"),
        ("share", "0.5", "share: .* got '0.5'"),
        ("pair", [1], r"pair: expected a list of an integer, a number, got \[1\]"),
        ("pair", [1, 2, 3], "pair: expected a list of an integer, a number"),
        ("pair", [1, "x"], r"pair\[1\]: expected a number, got 'x'"),
        ("pair", 1, "pair: expected a list of an integer, a number"),
        ("pair", {"0": 1, "1": 2}, "pair: expected a list of an integer, a number"),
        ("sides", [], r"sides: expected a list of 1 to 3 values, each an integer from 1 to 100, got \(\)"),
        ("sides", [1] * 4, "sides: expected a list of 1 to 3 values"),
        ("sides", [1, -1], r"sides\[1\]: expected an integer from 1 to 100, got -1"),
        ("sides", [2.0], r"sides\[0\]: expected an integer from 1 to 100, got 2.0"),
        ("sides", [[1]], r"sides\[0\]: .* got \[1\]"),
        ("sides", "12", "sides: .* got '12'"),
        ("inner", None, "inner: expected names with values, got None"),
        ("inner", {}, "inner.side: expected an integer from 1 to 100, but it is missing"),
        ("inner", {"side": 1, "wide": 2}, "inner: expected only side, deep, got 'wide'"),
        ("inner", {"side": "1"}, "inner.side: expected an integer from 1 to 100, got '1'"),
        ("inners", [{"side": 1}, {"side": 1, "deep": 1}], r"inners\[1\]\.deep: expected true or false, got 1"),
        ("names", ["x", 1], r"names\[1\]: expected text, got 1"),
        ("ids", [1.5], r"ids\[0\]: expected an integer or text or null, got 1.5"),
        ("free", [], r"free: expected names with values, got \[\]"),
        ("maybe", "x", "maybe: expected names with values or null, got 'x'"),
        ("maybe", {"side": 0}, "maybe.side: expected an integer from 1 to 100, got 0"),
    ],
)
def test_wrong_values_are_refused_by_name(name, value, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        read(Outer, RIGHT | {name: value})
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=f"^of.{message}"):
        read(Outer, RIGHT | {name: value}, "of")


def test_what_is_shown_of_a_value_is_short():
    deep: Any = []
    for _ in range(3000):
        deep = [deep]
    for value in ("x" * 10**6, deep, list(range(10**5)), {"a": deep}):
        with pytest.raises(ValueError, match=r"a: expected an integer, got .{1,300}$"):
            read(int, value, "a")


def test_of_a_typed_dict_the_known_names_are_checked():
    assert read(Known, {"side": 1, "other": [], "inner": None}) == {"side": 1, "other": [], "inner": None}
    for value, message in (
        ({"side": "x"}, "k.side: expected an integer"),
        ({"inner": {"side": 0}}, "k.inner.side: expected an integer from 1"),
        ([], "k: expected names with values"),
    ):
        with pytest.raises(ValueError, match=message):
            read(Known, value, "k")


def test_annotations_in_words():
    assert describe(dict[str, str] | None) == "names with values or null"
    assert describe(tuple[int, int]) == "a list of 2 values, each an integer"
    assert describe(list[bool]) == "a list of values, each true or false"
