"""JPEG files that keep a decoder busy."""

import io

from PIL import Image


def of_many_scans(width: int, height: int, more: int) -> bytes:
    """A red progressive JPEG file whose last scan, which changes nothing, is there `more` times more."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "jpeg", progressive=True)
    data = buffer.getvalue()
    scan = data[data.rindex(b"\xff\xc4") : -2]  # with its Huffman table
    return data[:-2] + scan * more + data[-2:]
