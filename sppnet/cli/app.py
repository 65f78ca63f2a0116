"""The entry point: `sppnet COMMAND ...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from sppnet.cli.early_signals import ending_at_once
from sppnet.cli.table import ENTRIES, GROUPS, Command, Family, walk
from sppnet.settings.base import suggestion

SHELLS = ("bash", "zsh", "tcsh")
OK, USAGE = 0, 2
INTRODUCTION = """usage: sppnet COMMAND [options]

SPP-net object detection and image classification (He et al. 2014): each photo
goes through the convolutions once, every window is pooled from the feature map.
"""
EXAMPLES = """
Examples:
  sppnet detect holiday/ --save found/
  sppnet train my_photos

`sppnet COMMAND --help` explains a command. `sppnet --version` prints the
version, `sppnet --print-completion bash|zsh|tcsh` a script for the shell.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sppnet` with arguments; None: those of the process.

    Returns:
        the exit code: 0 done, 1 an expected failure, 2 wrong usage, 130 interrupted, 143 terminated.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    first = words[0] if words else "--help"
    if first in ("-h", "--help"):
        print(overview())
        return OK
    if first == "--version":
        from sppnet import __version__

        print(__version__)
        return OK
    if first.startswith("--print-completion"):
        return print_completion(first.partition("=")[2] or "".join(words[1:2]))
    entry, prog, rest = ENTRIES.get(first), f"sppnet {first}", words[1:]
    if entry is None:
        return unknown("sppnet", first, ENTRIES)
    if isinstance(entry, Family):
        second = rest[0] if rest else "--help"
        if second in ("-h", "--help"):
            print(family_help(prog, entry))
            return OK
        if second not in entry.commands:
            return unknown(prog, second, entry.commands)
        entry, prog, rest = entry.commands[second], f"{prog} {second}", rest[1:]
    with ending_at_once():
        from sppnet.cli.execution import run_command

        command = entry.load()
    return run_command(command, prog, rest)


def overview() -> str:
    """The help of `sppnet` itself, on one screen."""
    lines = [INTRODUCTION]
    for title, entries in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<12}{entry.help}" for name, entry in entries.items()), ""]
    return "\n".join(lines).rstrip() + "\n" + EXAMPLES.rstrip()


def family_help(prog: str, family: Family) -> str:
    """The commands below a common word."""
    width = max(map(len, family.commands)) + 2
    lines = [f"  {name:<{width}}{command.help}" for name, command in family.commands.items()]
    text = [f"usage: {prog} COMMAND [options]", "", f"{family.help[0].upper()}{family.help[1:]}.", "", *lines]
    return "\n".join([*text, "", f"`{prog} COMMAND --help` explains a command."])


def unknown(prog: str, word: str, known: Mapping[str, Command | Family]) -> int:
    """Say that there is no such command, and which one is near."""
    print(f"error: {prog}: no command {word!r}{suggestion(word, known)}", file=sys.stderr)
    return USAGE


def print_completion(shell: str) -> int:
    """Print a completion script; shtab makes it from the parsers."""
    if shell not in SHELLS:
        print(f"error: --print-completion: expected one of {', '.join(SHELLS)}, got {shell!r}", file=sys.stderr)
        return USAGE
    import shtab

    print(shtab.complete(whole_parser(), shell))
    return OK


def whole_parser() -> argparse.ArgumentParser:
    """One parser of all commands, for completion scripts."""
    from sppnet.cli.flags import add_output_flags, add_settings

    root = argparse.ArgumentParser("sppnet")
    families: dict[str, argparse._SubParsersAction] = {"": root.add_subparsers()}
    for full_name, command in walk():
        family, _, name = full_name.rpartition(" ")
        if family not in families:
            families[family] = families[""].add_parser(family, help=ENTRIES[family].help).add_subparsers()
        parser = families[family].add_parser(name, help=command.help)
        add_settings(parser, command.load().SETTINGS)
        add_output_flags(parser)
    return root
