"""What the commands of `sppnet visualize` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sppnet.files import picture_format, write_picture
from sppnet.output_files import check_file, identities
from sppnet.settings.views import PictureSettings
from sppnet.views import View


def picture_path(settings: PictureSettings, name: str) -> Path:
    """The picture to write: `--output`, or ./PHOTO-NAME.png.

    Raises:
        ValueError: its name does not end in .png, .jpg or .webp.
        FileExistsError: there is a file that is the photo, or not from sppnet.
        OSError: it cannot be written.
    """
    path = settings.output or Path(f"{settings.image.stem}-{name}.png")
    picture_format(path)
    check_file(path, identities([settings.image]))
    return path


def write_view(view: View, path: Path) -> dict[str, Any]:
    """Write the picture, print where it is, and return the facts.

    Raises:
        OSError: it cannot be written.
    """
    write_picture(path, view.picture)
    print(path)
    return view.facts
