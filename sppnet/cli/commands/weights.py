"""Download pretrained weights and print where they are kept."""

from __future__ import annotations

from typing import Any

from sppnet.settings.setup import WeightsCommandSettings

SETTINGS = WeightsCommandSettings


def run(settings: WeightsCommandSettings) -> dict[str, Any]:
    """Return the files."""
    from detection.weights import pretrained
    from sppnet.progress import log

    known = ", ".join(pretrained.CHECKPOINTS)
    for name in settings.names or ():
        if name not in pretrained.CHECKPOINTS:
            raise ValueError(f"NAME: expected one of {known}, got {name!r}")
    archive = settings.archive
    names = settings.names or tuple(pretrained.names_in(archive) if archive else pretrained.CHECKPOINTS)
    if not names:
        files = dict.fromkeys(c.distribution.filename for c in pretrained.CHECKPOINTS.values())
        raise ValueError(f"--archive: expected one of {', '.join(files)}, got {archive}; give the NAME that it holds")
    paths = []
    for name in names:
        if not pretrained.path_of(name).is_file():
            log.info("downloading %s into %s", name, pretrained.home())
        paths.append(str(pretrained.fetch(name, archive)))
        print(paths[-1], flush=True)
    return {"files": paths}
