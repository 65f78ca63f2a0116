"""Open a local web page that finds objects in photos, and the same as an HTTP API, POST /detect. With --label-studio be
an ML backend of Label Studio instead, which learns while you label.

sppnet serve --model runs/my_photos/model
sppnet serve --label-studio
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

from sppnet.settings.commands import ServeSettings

SETTINGS = ServeSettings


def run(settings: ServeSettings) -> dict[str, Any]:
    """Serve until interrupted; return the number of photos answered."""
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise RuntimeError(f"{package} is not installed; run: pip install 'sppnet[serve]'")
    if settings.label_studio:
        from sppnet.labelling.local import serve
    else:
        from sppnet.server.local import serve
    return {"served": serve(settings, functools.partial(print, flush=True))}
