"""MkDocs hook: fills the parts of pages that are generated from code.

A comment in a page names the part: `<!-- cells -->` the cells of photo_to_detector.py, `<!-- commands -->` the options
of every command, `<!-- settings -->` the fields of every settings class.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

ROOT, HERE = Path(__file__).resolve().parents[1], Path(__file__).resolve().parent
EXAMPLES = ("sppnet ", "torchrun ")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the comments of a page."""
    for name, generate in (("cells", cells), ("commands", commands), ("settings", settings)):
        comment = f"<!-- {name} -->"
        if comment in markdown:
            markdown = markdown.replace(comment, "\n".join(generate()))
    return markdown


def cells() -> Iterator[str]:
    """The cells of a py:percent script: `# %% [markdown]` cells as prose, the others as code blocks."""
    script = (HERE / "photo_to_detector.py").read_text("utf-8")
    for cell in script.split("\n# %%")[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            yield "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.splitlines()) + "\n"
        else:
            yield f"```python\n{body.strip()}\n```\n"


def commands() -> Iterator[str]:
    """One section per command: what it does, an example, a table of its options."""
    _use_this_clone()
    from sppnet.cli.table import GROUPS, Family

    for title, entries in GROUPS.items():
        yield f"## {title}\n"
        for name, entry in entries.items():
            parts = entry.commands if isinstance(entry, Family) else {"": entry}
            for part, command in parts.items():
                module = command.load()
                yield f"### {f'sppnet {name} {part}'.strip()}\n"
                for paragraph in inspect.cleandoc(module.__doc__ or "").split("\n\n"):
                    yield f"```\n{paragraph}\n```\n" if paragraph.startswith(EXAMPLES) else f"{paragraph}\n"
                yield from _table("option", module.SETTINGS, _flags)


def settings() -> Iterator[str]:
    """One section per settings class: its docstring, and a table of its fields."""
    _use_this_clone()
    import sppnet.settings

    for name in sppnet.settings.__all__:
        yield f"::: sppnet.settings.{name}"
        yield "    options: {members: false, show_bases: false, merge_init_into_class: false}\n"
        yield from _table("field", getattr(sppnet.settings, name), _type)


def _use_this_clone() -> None:
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def _table(first: str, of: Any, describe: Any) -> Iterator[str]:
    """The fields of a settings class, those that most users need first."""
    kinds, defaults = of.kinds(), {f.name: f.default for f in fields(of)}
    positional = [name for name, (_, option) in kinds.items() if option.positional]
    names = [n for n in dict.fromkeys([*positional, *of.MAIN, *kinds]) if n not in of.HIDDEN]
    if not names:
        return
    yield f"| {first} | meaning | default |\n|---|---|---|"
    for name in names:
        kind, option = kinds[name]
        default = "required" if option.required else _default(name, defaults[name])
        meaning = option.help.replace("|", "\\|")
        yield f"| {describe(name, kind, option)} | {meaning} | {default} |"
    yield ""


def _flags(name: str, kind: Any, option: Any) -> str:
    """`-j, --workers N`."""
    flag, metavar = f"--{name.replace('_', '-')}", option.metavar or ("N" if kind.item is int else "")
    if kind.choices:
        metavar = "|".join(map(str, kind.choices))
    if kind.item is bool:
        flag = f"--[no-]{flag[2:]}"
    if option.positional:
        flag, metavar = metavar or name.upper(), ""
    return f"`{', '.join([*option.flags, f'{flag} {metavar}'.strip() + ' …' * (kind.count is None)])}`"


def _type(name: str, kind: Any, option: Any) -> str:
    """`scales: tuple[int, ...] | None`."""
    text = " | ".join(repr(c) for c in kind.choices) if kind.choices else kind.item.__name__
    if kind.count is None:
        text = f"tuple[{text}, ...]"
    elif kind.count:
        text = f"tuple[{', '.join([text] * kind.count)}]"
    return f"`{name}: {text}{' | None' * kind.optional}`"


def _default(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    values = value if isinstance(value, tuple) else (value,)
    return f"`{' '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in values)}`"
