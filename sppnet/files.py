"""Text and picture files that are either whole or absent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PICTURES = ("PNG", "JPEG", "WEBP")  # Pillow's names


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step; its folder is made if absent.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [text.encode()])


def picture_format(path: Path) -> str:
    """The format that a picture's name stands for: "PNG", "JPEG" or "WEBP".

    Raises:
        ValueError: it stands for another format, or none.
    """
    from PIL import Image

    found = Image.registered_extensions().get(path.suffix.lower())
    if found not in PICTURES:
        raise ValueError(f"{path}: expected a name that ends in .png, .jpg or .webp")
    return found


def write_picture(path: Path, pixels: NDArray[np.uint8], **options: Any) -> None:
    """Write a picture in one step, in the format of its name; its folder is made if absent.

    Args:
        path: ends in .png, .jpg or .webp.
        pixels: uint8 RGB (H, W, 3).
        options: of the format, for Pillow; for example `quality`.

    Raises:
        ValueError: the name stands for another format.
        OSError: it cannot be written.
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, picture_format(path), **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [buffer.getvalue()])
