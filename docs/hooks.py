"""MkDocs hook: the page of `photo_to_detector.py`, whose cells are separated by `# %%`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

SCRIPT, PAGE = "photo_to_detector.py", "photo-to-detector.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    from mkdocs.structure.files import File

    text = (Path(config.docs_dir) / SCRIPT).read_text("utf-8")
    files.append(File.generated(config, PAGE, content=page(text)))
    return files


def page(script: str) -> str:
    """Markdown of a py:percent script: `# %% [markdown]` cells as prose, the others as code blocks."""
    parts = []
    for cell in script.split("\n# %%")[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            parts.append("\n".join(line.removeprefix("#").removeprefix(" ") for line in body.splitlines()))
        else:
            parts.append(f"```python\n{body.strip()}\n```")
    return "\n\n".join(part.strip() for part in parts) + "\n"
