"""Values of JSON as values of annotated types: a dataclass says by its annotations what a stranger's file may hold.

Given

    class Search:
        mode: Literal["fast", "quality"]
        sides: Annotated[tuple[Annotated[int, Limits(1, 1000)], ...], Limits(1, 8)]  # one to eight sides
        overlap: Annotated[float, Limits(0, 1)] | None

as a dataclass, `read(Search, {"mode": "fast", "sides": [80, "90"], "overlap": None}, "search")` raises ValueError:

    search.sides[1]: expected an integer from 1 to 1000, got '90'
"""

from __future__ import annotations

import contextlib
import reprlib
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, Union, get_args, get_origin

MAY_BE_ABSENT: Mapping[str, Any] = types.MappingProxyType({"may_be_absent": True})
"""Metadata of a field that older files lack; it then has its default."""

UNIONS = (Union, types.UnionType)
NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text", Any: "anything"}
MAPPING = "names with values"


@dataclass(frozen=True)
class Limits:
    """What a number may be, or how many items a tuple or list may have: from `least`, or `above` it, to `most`."""

    least: float
    most: float
    above: bool = False

    def allow(self, value: float) -> bool:
        """Whether a number is within the limits."""
        return (self.least < value if self.above else self.least <= value) and value <= self.most

    def __str__(self) -> str:
        least, most = f"{self.least:.10g}", f"{self.most:.10g}"
        return f"above {least}, at most {most}" if self.above else f"{least} to {most}"


class _Place(NamedTuple):
    """Where a value stands, and the annotation that says what is allowed there."""

    name: str
    allowed: Any

    def refuse(self, value: Any) -> NoReturn:
        where = f"{self.name}: " if self.name else ""
        raise ValueError(f"{where}expected {describe(self.allowed)}, got {shown(value)}")

    def within(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def read(kind: Any, value: Any, name: str = "", allowed: Any = None) -> Any:
    """Return a value of JSON as one of an annotated type.

    Lists become tuples where the annotation says so. Whole numbers stay whole where numbers are allowed, so that a
    value has the same `repr` as when it was written. Of a TypedDict, the known names that are there are checked.

    Args:
        kind: bool, int, float (finite), str, Any, a Literal; a tuple, list or dict of these; a dataclass, a TypedDict;
            a union of these with or without None, in which a dataclass comes last; any of these with `Limits`.
        value: what `json.loads` returns.
        name: what to call it in errors; empty: what it contains has names of its own.
        allowed: the annotation that errors describe, if it is another one.

    Raises:
        ValueError: the value is of another kind or outside the limits, or a name is missing or unknown; the line has
            the name, what is allowed and what was found.
    """
    bare, limits = _parts(kind)
    place = _Place(name, kind if allowed is None else allowed)
    origin, args = get_origin(bare), get_args(bare)
    if origin in UNIONS:
        return _one_of(args, value, place)
    if is_dataclass(bare) or typing.is_typeddict(bare) or origin is dict:
        return _named(bare, value, place)
    measured: Any
    if origin in (tuple, list):
        found = _items(args, value, place)
        value, measured = (found if origin is tuple else list(found)), len(found)
    elif not _is(value, bare):
        place.refuse(value)
    else:
        measured = value
    if limits and not limits.allow(measured):
        place.refuse(value)
    return value


def describe(kind: Any) -> str:
    """What an annotation allows, in words: "an integer from 1 to 1000 or null"."""
    bare, limits = _parts(kind)
    origin, args = get_origin(bare), get_args(bare)
    if origin in UNIONS:
        return " or ".join("null" if a is types.NoneType else describe(a) for a in args)
    if origin is Literal:
        return f"{'one of ' if len(args) > 1 else ''}{', '.join(map(str, args))}"
    if origin in (tuple, list):
        if len(set(args) - {Ellipsis}) > 1:
            return f"a list of {', '.join(map(describe, args))}"
        count = f"{limits} " if limits else f"{len(args)} " if len(args) > 1 and Ellipsis not in args else ""
        return f"a list of {count}values, each {describe(args[0])}"
    preposition = "" if limits is None else " " if limits.above else " from "
    return NAMES.get(bare, MAPPING) + preposition + str(limits or "")


def shown(value: Any) -> str:
    """A value from a stranger in a few characters of one line."""
    return reprlib.repr(value)


@cache
def _annotations(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _parts(kind: Any) -> tuple[Any, Limits | None]:
    """An annotation without its limits, and these."""
    if get_origin(kind) is not Annotated:
        return kind, None
    bare, *notes = get_args(kind)
    return bare, next((note for note in notes if isinstance(note, Limits)), None)


def _is(value: Any, kind: Any) -> bool:
    """Whether a single value is of a kind; True is no number, and a number has a finite float."""
    if get_origin(kind) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # false for NaN too
    return kind is Any or type(value) is kind


def _one_of(kinds: tuple[Any, ...], value: Any, place: _Place) -> Any:
    """A value of the first kind of a union that allows it."""
    if value is None and types.NoneType in kinds:
        return None
    *others, last = [kind for kind in kinds if kind is not types.NoneType]
    for kind in others:
        with contextlib.suppress(ValueError):
            return read(kind, value, place.name)
    return read(last, value, *place)


def _items(kinds: tuple[Any, ...], value: Any, place: _Place) -> tuple[Any, ...]:
    """The items of a list, or of a tuple that was not written yet; `kinds` is the kind of all, or of each."""
    if not isinstance(value, list | tuple):
        place.refuse(value)
    each = [kinds[0]] * len(value) if len(kinds) == 1 or Ellipsis in kinds else list(kinds)
    if len(value) != len(each):
        place.refuse(value)
    return tuple(read(kind, item, f"{place.name}[{i}]") for i, (kind, item) in enumerate(zip(each, value, strict=True)))


def _named(kind: Any, value: Any, place: _Place) -> Any:
    """A dataclass, or the dict that its annotations describe."""
    if not isinstance(value, dict):
        place.refuse(value)
    if get_origin(kind) is dict:
        return {key: read(get_args(kind)[1], item, place.within(shown(key))) for key, item in value.items()}
    known, make = _annotations(kind), kind
    if not is_dataclass(kind):
        return {k: read(known[k], item, place.within(k)) if k in known else item for k, item in value.items()}
    known = {f.name: known[f.name] for f in fields(kind)}
    if unknown := [key for key in value if key not in known]:
        raise ValueError(f"{place.name or 'names'}: expected only {', '.join(known)}, got {shown(unknown[0])}")
    for field in fields(kind):
        if field.name not in value and not field.metadata.get("may_be_absent"):
            what = describe(known[field.name])
            raise ValueError(f"{place.within(field.name)}: expected {what}, but it is missing")
    return make(**{key: read(known[key], item, place.within(key)) for key, item in value.items()})
