"""Features of regions for selective search: size, box, colour and texture histograms, neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from proposals.filters import TAP_BITS, correlate, derivative_taps, gaussian_taps

COLOUR_BINS = 25  # per channel; IJCV 2013, section 3.2
TEXTURE_BINS = 10  # per channel and direction
DIRECTIONS = 4  # 0, 90, 45, 135 degrees, each split into rises and falls: 8 in total
TEXTURE_SIGMA = 1.0  # px, of the Gaussian derivatives
STRONGEST = 255 << (2 * TAP_BITS - 1)  # response to a step from black to white along an axis


@dataclass(frozen=True, eq=False)
class PixelBins:
    """Histogram bins of each pixel of an image.

    Attributes:
        colour: uint8 (H, W, C), bin of each channel.
        texture: uint8 (H, W, C * 4), bin of each channel and direction, directions varying fastest. Bin b > 0 is
            encoded as b for a rise and TEXTURE_BINS + b for a fall; bin 0 as 0.
    """

    colour: NDArray[np.uint8]
    texture: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Regions:
    """The n regions of a segmentation.

    Attributes:
        sizes: int32 (n,), number of pixels.
        boxes: int32 (n, 4), xyxy, 0-based inclusive pixels of the segmented image.
        colour: int32 (n, C * 25), pixel counts per colour bin.
        texture: int32 (n, C * 8 * 10), pixel counts per texture bin.
        neighbours: int32 (m, 2), pairs a < b of regions that share a pixel side, sorted.
        image_size: (H, W) in pixels.
    """

    sizes: NDArray[np.int32]
    boxes: NDArray[np.int32]
    colour: NDArray[np.int32]
    texture: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    image_size: tuple[int, int]


def pixel_bins(planes: NDArray[np.uint8]) -> PixelBins:
    """Compute the histogram bins of every pixel.

    Colour bins divide 0..255 evenly. Texture bins evenly divide the possible responses, from zero to that of a step
    from 0 to 255, so that a texture has the same histogram in every image.

    Args:
        planes: uint8 (C, H, W), the channels of the image.
    """
    smooth, slope = gaussian_taps(TEXTURE_SIGMA), derivative_taps(TEXTURE_SIGMA)
    channels, height, width = planes.shape
    texture = np.empty((height, width, channels * DIRECTIONS), np.uint8)
    for c, plane in enumerate(planes):
        along_x = correlate(plane, smooth, slope)
        along_y = correlate(plane, slope, smooth)
        # A Gaussian derivative at 45 degrees is the sum of the two, divided by the square root of 2.
        diagonal = int(STRONGEST * 2**0.5)
        responses = (
            (along_x, STRONGEST),
            (along_y, STRONGEST),
            (along_x + along_y, diagonal),
            (along_x - along_y, diagonal),
        )
        for direction, (response, strongest) in enumerate(responses):
            _bin_response(response, strongest, texture[:, :, c * DIRECTIONS + direction])
    colour = (planes.astype(np.uint16) * COLOUR_BINS >> 8).astype(np.uint8)
    return PixelBins(np.ascontiguousarray(colour.transpose(1, 2, 0)), texture)


def describe(labels: NDArray[np.int32], bins: PixelBins) -> Regions:
    """Compute the features of the regions of a segmentation.

    Args:
        labels: int32 (H, W), region of each pixel, 0..n-1, all present.
        bins: histogram bins of the same pixels.
    """
    n = int(labels.max()) + 1
    sizes, boxes = _extents(labels, n)
    colour = _histograms(labels, bins.colour, n, COLOUR_BINS)
    texture = _rises_and_falls(_histograms(labels, bins.texture, n, 2 * TEXTURE_BINS), sizes)
    pairs = np.unique(_touching(labels, n))
    neighbours = np.stack([pairs // n, pairs % n], 1).astype(np.int32)  # (m, 2)
    height, width = labels.shape
    return Regions(sizes, boxes, colour, texture, neighbours, (height, width))


@numba.njit(nogil=True, cache=True)
def _bin_response(response: NDArray[np.int32], strongest: int, out: NDArray[np.uint8]) -> None:
    """Write the encoded bins of a response, int32 (H, W), to `out`, uint8 (H, W)."""
    height, width = response.shape
    line = np.empty(width, np.int32)
    for y in range(height):
        for x in range(width):
            # The integers are small enough that rounding the quotient cannot carry it across a whole number.
            size = min(np.int32(abs(response[y, x]) * float(TEXTURE_BINS) / strongest), np.int32(TEXTURE_BINS - 1))
            line[x] = size + np.int32(TEXTURE_BINS) * ((response[y, x] < 0) & (size > 0))
        for x in range(width):
            out[y, x] = line[x]


def _rises_and_falls(signed: NDArray[np.int32], sizes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Complete the histograms of encoded bins, int32 (n, F * 2 * TEXTURE_BINS), in place.

    A rising pixel also counts in bin 0 of the falls, and vice versa.
    """
    counts = signed.reshape(len(sizes), -1, 2, TEXTURE_BINS)  # (n, F, rise or fall, bin)
    counts[..., 0] = 0
    counts[..., 0] = sizes[:, None, None] - counts.sum(axis=3)
    return signed


@numba.njit(nogil=True, cache=True)
def _extents(labels: NDArray[np.int32], n: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the sizes (n,) and boxes (n, 4) of the regions."""
    height, width = labels.shape
    sizes = np.zeros(n, np.int32)
    boxes = np.empty((n, 4), np.int32)
    boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3] = width, height, -1, -1
    for y in range(height):
        for x in range(width):
            region = labels[y, x]
            sizes[region] += 1
            boxes[region, 0] = min(boxes[region, 0], x)
            boxes[region, 1] = min(boxes[region, 1], y)
            boxes[region, 2] = max(boxes[region, 2], x)
            boxes[region, 3] = max(boxes[region, 3], y)
    return sizes, boxes


@numba.njit(nogil=True, cache=True)
def _histograms(labels: NDArray[np.int32], bins: NDArray[np.uint8], n: int, per_feature: int) -> NDArray[np.int32]:
    """Count the pixels of each region in each bin of each feature: int32 (n, features * per_feature)."""
    height, width, features = bins.shape
    counts = np.zeros((n, features * per_feature), np.int32)
    for y in range(height):
        for x in range(width):
            row = counts[labels[y, x]]
            for f in range(features):
                row[f * per_feature + bins[y, x, f]] += 1
    return counts


@numba.njit(nogil=True, cache=True)
def _touching(labels: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Return a * n + b for each pixel side between regions a < b, with duplicates."""
    height, width = labels.shape
    pairs = np.empty(2 * height * width, np.int64)
    m = 0
    for y in range(height):
        for x in range(width):
            a = labels[y, x]
            for below in range(2):
                y2, x2 = y + below, x + 1 - below
                if y2 < height and x2 < width and labels[y2, x2] != a:
                    b = labels[y2, x2]
                    pairs[m] = min(a, b) * np.int64(n) + max(a, b)
                    m += 1
    return pairs[:m]
