"""Write MiniVOC, a small generated data set laid out as a VOCdevkit."""

from __future__ import annotations

from typing import Any

from sppnet.settings.setup import MiniVOCSettings

SETTINGS = MiniVOCSettings


def run(settings: MiniVOCSettings) -> dict[str, Any]:
    """Return the folder of the data set."""
    from data import minivoc
    from sppnet.output_files import remove_leftovers_beside

    remove_leftovers_beside(settings.folder)
    devkit = minivoc.generate(settings.folder, settings.train, settings.test, settings.seed)
    print(devkit)
    return {"devkit": str(devkit)}
