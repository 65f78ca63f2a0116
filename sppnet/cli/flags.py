"""Command-line flags generated from settings classes."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from detection.storage.urls import url_of
from sppnet.settings.base import Kind, Option, Settings

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
WIDTH = 80  # columns of help texts


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help that fits 80 columns; a flag that is on by default reads `--[no-]flag`. `--no-flag` always exists."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=WIDTH)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, argparse.BooleanOptionalAction):
            flag = action.option_strings[0]
            return flag if getattr(action, "off_by_default", False) else f"--[no-]{flag.removeprefix('--')}"
        return super()._format_action_invocation(action)


def make_parser(prog: str, description: str, settings: type[Settings]) -> argparse.ArgumentParser:
    """A parser with one flag per setting and the flags that every command has.

    Values that are not given are absent from the parsed namespace, so that a `--config` file can supply them.
    """
    parser = argparse.ArgumentParser(
        prog,
        usage=" ".join([prog, *_positional_usage(settings), "[options]"]),
        description=wrap(description),
        formatter_class=HelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,  # --model must not be taken for --model-name
    )
    add_settings(parser, settings)
    add_output_flags(parser)
    return parser


def _positional_usage(settings: type[Settings]) -> list[str]:
    """The positional arguments as a usage line shows them: "PHOTO ...", "[DIR]"."""
    shown = []
    for name, (kind, option) in settings.kinds().items():
        if option.positional:
            text = (option.metavar or name) + " ..." * (kind.count is None)
            shown.append(text if option.required else f"[{text}]")
    return shown


def wrap(text: str) -> str:
    """Paragraphs filled to the width of help texts; lines that show a command are kept, and indented."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        lines = [line.strip() for line in paragraph.splitlines()]
        shown = all(line.startswith(("sppnet ", "torchrun ")) for line in lines)
        paragraphs.append(
            "\n".join(f"  {line}" for line in lines)
            if shown
            else textwrap.fill(" ".join(lines), WIDTH, break_on_hyphens=False)
        )
    return "\n\n".join(paragraphs)


def add_settings(parser: argparse.ArgumentParser, settings: type[Settings]) -> None:
    """Positional arguments, the flags most people need, and under a second heading the rest."""
    main, more = parser.add_argument_group("main options"), parser.add_argument_group("more options")
    defaults = {f.name: f.default for f in fields(settings)}
    kinds = settings.kinds()
    unknown = [name for name in settings.MAIN if name not in kinds]
    assert not unknown, f"{settings.__name__}.MAIN names {unknown}"
    for name in (*settings.MAIN, *(n for n in kinds if n not in (*settings.MAIN, *settings.HIDDEN))):
        kind, option = kinds[name]
        group = parser if option.positional else main if name in settings.MAIN else more
        _add(group, name, kind, option, defaults[name])


def _add(group: Any, name: str, kind: Kind, option: Option, default: Any) -> None:
    text = (option.help + _default_text(kind, default)).replace("%", "%%")
    if option.positional:
        nargs = "*" if kind.count is None else "?"  # a required one may stand in the --config file
        group.add_argument(name, nargs=nargs, type=_reader(kind, option), metavar=option.metavar, help=text)
        return
    flags = (*option.flags, f"--{name.replace('_', '-')}")
    if kind.item is bool and not kind.choices:
        action = group.add_argument(*flags, dest=name, action=argparse.BooleanOptionalAction, help=text)
        action.off_by_default = default is False
        return
    details: dict[str, Any] = {} if kind.count == 0 else {"nargs": kind.count or "+"}
    if kind.count is None:
        details["action"] = "extend"
    if kind.choices:
        details["choices"] = kind.choices
    else:
        details["metavar"] = tuple((option.metavar or "").split()) if kind.count else option.metavar
    group.add_argument(*flags, dest=name, type=_reader(kind, option), help=text, **details)


def _reader(kind: Kind, option: Option) -> Callable[[str], Any]:
    """One value from text; argparse prints what was expected if it cannot be read."""

    def read(text: str) -> Any:
        if text is argparse.SUPPRESS:  # argparse also converts the default of an absent positional argument
            return text
        if kind.choices:
            return text  # argparse compares it with the choices
        try:
            return kind.parse(text, option)
        except ValueError:
            one = Kind(kind.item).describe(option)
            raise argparse.ArgumentTypeError(f"expected {one}, got {text!r}") from None

    return read


def _default_text(kind: Kind, default: Any) -> str:
    if default is None or (kind.item is bool and default is False):
        return ""
    if kind.item is bool:
        return " (default)"
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    return f" (default: {shown})"


def _path(text: str) -> Path:
    """A path of this machine."""
    if url_of(text):
        raise argparse.ArgumentTypeError(f"expected a path of this machine, got {text!r}")
    return Path(text)


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that every command has."""
    group = parser.add_argument_group("configuration and output")
    group.add_argument("--config", type=_path, metavar="FILE", help="YAML file of settings; flags override it")
    group.add_argument("--json", type=_path, metavar="FILE", help="write result, settings, versions and time")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    group.add_argument("--quiet", action="store_true", help="no progress bars, only warnings and errors")
    group.add_argument("--log-level", choices=LOG_LEVELS, help="lowest level of log lines (default: info)")
    group.add_argument("--log-format", choices=LOG_FORMATS, help="json: one object per line (default: text)")
