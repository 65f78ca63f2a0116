"""Sheets of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
INK, PAPER = (30, 30, 30), (255, 255, 255)
_GAP = 6  # px between tiles


def tile(pictures: Sequence[Picture], captions: Sequence[str], columns: int = 3) -> Picture:
    """Pictures of one size side by side, each under its caption.

    Args:
        pictures: uint8 RGB (H, W, 3), at least one.
        captions: one a picture.
        columns: pictures in a row, as far as there are so many.

    Returns:
        uint8 RGB, on white.

    Raises:
        ValueError: no pictures, not one caption each, or no columns.
    """
    if not pictures or len(pictures) != len(captions) or columns < 1:
        raise ValueError(f"tile: expected pictures and captions, got {len(pictures)}, {len(captions)}; {columns=}")
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    letters = max(11, min(height, width) // 20)
    font, strip = ImageFont.load_default(letters), round(letters * 1.6)  # px of the caption
    cell_width, cell_height = width + _GAP, height + strip + _GAP
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = _GAP + i % columns * cell_width, _GAP + i // columns * cell_height
        pen.text((x, y + strip / 2), caption, INK, font, anchor="lm")
        sheet.paste(Image.fromarray(picture), (x, y + strip))
    return np.array(sheet)
