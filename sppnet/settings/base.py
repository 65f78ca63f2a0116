"""The base of all settings: frozen dataclasses whose fields carry help text, limits and flag names.

One declaration per setting serves the command line, `--config` files, json reports and Python. Whichever way a
value comes in, it is checked and converted here.
"""

from __future__ import annotations

import difflib
import math
import os
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from detection.storage.urls import url_of

S = TypeVar("S", bound="Settings")


class MissingSetting(ValueError):
    """A setting without a default was not given."""


@dataclass(frozen=True)
class Option:
    """What a field says about itself beyond its type and default.

    Attributes:
        help: one line for `--help` and the API reference.
        metavar: placeholder of the value in help texts; None: derived from the type.
        minimum, maximum: inclusive limits of a number, or of each number of a tuple.
        above, below: exclusive limits.
        flags: short flags besides `--name`, for example ("-j",).
        positional: given without a flag on the command line.
        required: there is no default.
        writes: "file" or "folder" if the command writes what the setting names; None: it is read.
        url: "read" or "write" if it may name a folder at a URL; see `sppnet.storage`.
    """

    help: str
    metavar: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    flags: tuple[str, ...] = ()
    positional: bool = False
    required: bool = False
    writes: Literal["file", "folder"] | None = None
    url: Literal["read", "write"] | None = None


def option(default: Any, help: str, **details: Any) -> Any:
    """A field of a settings class with its default and its `Option`."""
    return field(default=default, metadata={"option": Option(help, **details)})


@dataclass(frozen=True)
class Kind:
    """The type of a setting.

    Attributes:
        item: bool, int, float, str or Path.
        choices: the allowed values; empty: any.
        optional: None is allowed.
        count: number of items; 0: a single value; None: one or more.
    """

    item: type
    choices: tuple[Any, ...] = ()
    optional: bool = False
    count: int | None = 0

    @classmethod
    def of(cls, hint: Any) -> Kind:
        """The kind that a type hint describes."""
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            (inner,) = (a for a in args if a is not type(None))
            kind = cls.of(inner)
            return cls(kind.item, kind.choices, True, kind.count)
        if origin is tuple:
            kind = cls.of(args[0])
            return cls(kind.item, kind.choices, False, None if Ellipsis in args else len(args))
        if origin is Literal:
            return cls(type(args[0]), args)
        return cls(hint)

    def describe(self, option: Option) -> str:
        """What is expected, in words: "an integer, at least 1"."""
        if self.choices:
            what = f"one of {', '.join(map(str, self.choices))}"
        else:
            names = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
            names[Path] = "a path or URL" if option.url else "a path of this machine"
            what = names[self.item] + _limits(option)
        if self.count == 0:
            return what
        return f"{self.count or 'one or more'} values, each {what}"

    def item_of(self, value: Any, option: Option) -> Any:
        """One value, checked and converted.

        Raises:
            ValueError: it is not of this kind, or outside the limits.
        """
        if self.choices:
            text = str(value) if self.item is str and type(value) is int else value  # YAML reads 50 as a number
            if text not in self.choices:
                raise ValueError
            return text
        if self.item is Path and isinstance(value, str | os.PathLike):
            if option.url is None and url_of(value):
                raise ValueError
            return Path(value).expanduser()
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if self.item is float and numeric:
            value = float(value)
        if type(value) is not self.item or not _within(value, option):
            raise ValueError
        return value

    def parse(self, text: str, option: Option) -> Any:
        """One value from text, as the command line gives it.

        Raises:
            ValueError: it cannot be read, or is outside the limits.
        """
        return self.item_of(self.item(text) if self.item in (int, float) else text, option)


def _limits(option: Option) -> str:
    bounds = [
        f"at least {option.minimum:.12g}" if option.minimum is not None else "",
        f"above {option.above:g}" if option.above is not None else "",
        f"at most {option.maximum:.12g}" if option.maximum is not None else "",
        f"below {option.below:g}" if option.below is not None else "",
    ]
    given = " and ".join(b for b in bounds if b)
    return f", {given}" if given else ""


def _within(value: Any, option: Option) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    return (
        math.isfinite(value)
        and (option.minimum is None or value >= option.minimum)
        and (option.maximum is None or value <= option.maximum)
        and (option.above is None or value > option.above)
        and (option.below is None or value < option.below)
    )


@dataclass(frozen=True)
class Settings:
    """Settings of a stage or command, checked when they are made.

    Raises:
        ValueError: a value is of the wrong type or outside its limits; the line says what was expected.
    """

    MAIN: ClassVar[tuple[str, ...]] = ()
    """Names of the settings that `--help` shows first."""

    HIDDEN: ClassVar[tuple[str, ...]] = ()
    """Names of inherited settings that have no flag, because the command decides them."""

    def __post_init__(self) -> None:
        for name, (kind, option) in self.kinds().items():
            value = getattr(self, name)
            if value is None and option.required:
                raise MissingSetting(f"{name}: is required; expected {kind.describe(option)}")
            object.__setattr__(self, name, _checked(name, value, kind, option))

    @classmethod
    def kinds(cls) -> dict[str, tuple[Kind, Option]]:
        """Name -> kind and option of every setting: the class's own first, then those of its bases."""
        return _kinds(cls)  # type: ignore[arg-type]  # classes are hashable

    @classmethod
    def from_values(cls: type[S], values: Mapping[str, Any]) -> S:
        """Settings from names and values; dashes in names are underscores, missing names keep their defaults.

        Raises:
            MissingSetting: a setting without default is missing.
            ValueError: a name is unknown (the line names the nearest one), or a value is not as expected.
        """
        known = cls.kinds()
        named = {str(name).replace("-", "_"): value for name, value in values.items()}
        for name in named:
            if name not in known:
                raise ValueError(f"unknown setting {name!r}{suggestion(name, known)}")
        return cls(**named)

    @classmethod
    def checked(cls, name: str, value: Any) -> Any:
        """One value, as the field of this name has it.

        Raises:
            ValueError: there is no such field, or the value is not as expected.
        """
        kinds = cls.kinds()
        if name not in kinds:
            raise ValueError(f"unknown setting {name!r}")
        return _checked(name, value, *kinds[name])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for json and YAML: paths as text, tuples as lists."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


@cache
def _kinds(cls: type[Settings]) -> dict[str, tuple[Kind, Option]]:
    hints = typing.get_type_hints(cls)
    option = {f.name: f.metadata["option"] for f in fields(cls)}
    declared = [name for base in cls.__mro__ for name in vars(base).get("__annotations__", {}) if name in option]
    return {name: (Kind.of(hints[name]), option[name]) for name in dict.fromkeys(declared)}


def _checked(name: str, value: Any, kind: Kind, option: Option) -> Any:
    if value is None and (kind.optional or option.required):
        return None
    try:
        if kind.count == 0:
            return kind.item_of(value, option)
        several = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        if len(several) != (kind.count or len(several)) or not several:
            raise ValueError
        return tuple(kind.item_of(v, option) for v in several)
    except ValueError:
        raise ValueError(f"{name}: expected {kind.describe(option)}, got {value!r}") from None


def suggestion(name: str, known: typing.Iterable[str]) -> str:
    """ "; did you mean 'backbone'?" for the nearest known name; the known names where none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; expected one of {', '.join(names)}"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return url_of(value) or os.fspath(value) if isinstance(value, Path) else value
