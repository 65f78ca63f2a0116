"""Contact sheets: pictures with captions in a grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
INK, PAPER = (30, 30, 30), (255, 255, 255)
_GAP = 6  # px between tiles


def tile(pictures: Sequence[Picture], captions: Sequence[str], columns: int = 3) -> Picture:
    """Arrange pictures of the same size in a grid, each below its caption.

    Args:
        pictures: uint8 RGB (H, W, 3) each, at least one.
        captions: one per picture.
        columns: the largest number of pictures per row.

    Returns:
        uint8 RGB (H, W, 3) on white.

    Raises:
        ValueError: there are no pictures, the numbers of pictures and captions differ, or `columns` is less than 1.
    """
    if not pictures or len(pictures) != len(captions) or columns < 1:
        raise ValueError(f"tile: expected one caption per picture, got {len(pictures)} and {len(captions)}; {columns=}")
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    letters = max(11, min(height, width) // 20)
    font, strip = ImageFont.load_default(letters), round(letters * 1.6)  # height of a caption in px
    cell_width, cell_height = width + _GAP, height + strip + _GAP
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = _GAP + i % columns * cell_width, _GAP + i // columns * cell_height
        pen.text((x, y + strip / 2), caption, INK, font, anchor="lm")
        sheet.paste(Image.fromarray(picture), (x, y + strip))
    return np.array(sheet)
