"""Literal version of selective search as in the papers, in plain Python, for images of a few hundred pixels."""

import math

import numpy as np

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # (dy, dx) of an edge, in the order that breaks ties


def taps(sigma, derivative):
    """Return the integer taps of a Gaussian or its derivative, -r..r."""
    radius = math.ceil(4 * sigma)
    xs = range(-radius, radius + 1)
    weights = [(x / sigma**2 if derivative else 1.0) * math.exp(-0.5 * (x / sigma) ** 2) for x in xs]
    whole = [round(w / sum(abs(v) for v in weights) * 1024) for w in weights]
    if not derivative:
        whole[radius] += 1024 - sum(whole)
    return whole


def correlate(plane, column_taps, row_taps):
    """Correlate with the outer product of the taps; border pixels are repeated."""
    height, width = plane.shape
    ry, rx = len(column_taps) // 2, len(row_taps) // 2
    out = np.zeros((height, width), np.int64)
    for y in range(height):
        for x in range(width):
            for i, a in enumerate(column_taps):
                for j, b in enumerate(row_taps):
                    value = plane[min(max(y + i - ry, 0), height - 1), min(max(x + j - rx, 0), width - 1)]
                    out[y, x] += a * b * int(value)
    return out


def segment(planes, k, min_size, sigma=0.8):
    """Return the labels (H, W) of a graph segmentation, numbered in raster order."""
    gauss = taps(sigma, derivative=False)
    smooth = np.stack([correlate(plane, gauss, gauss) >> 14 for plane in planes])
    _, height, width = planes.shape
    edges = []
    for y in range(height):
        for x in range(width):
            for number, (dy, dx) in enumerate(DIRECTIONS):
                y2, x2 = y + dy, x + dx
                if y2 < height and 0 <= x2 < width:
                    squared = int(((smooth[:, y, x] - smooth[:, y2, x2]) ** 2).sum())
                    edges.append((squared, y, x, number, y2, x2))
    edges.sort()
    component = np.arange(height * width).reshape(height, width)
    heaviest = dict.fromkeys(range(height * width), 0.0)
    for squared, y, x, _, y2, x2 in edges:
        a, b = component[y, x], component[y2, x2]
        weight = math.sqrt(squared) / 64
        if a != b and all(weight <= heaviest[c] + k / (component == c).sum() for c in (a, b)):
            component[component == b] = a
            heaviest[a] = weight
    for _, y, x, _, y2, x2 in edges:
        a, b = component[y, x], component[y2, x2]
        if a != b and min((component == a).sum(), (component == b).sum()) < min_size:
            component[component == b] = a
    order = list(dict.fromkeys(component.ravel().tolist()))
    return np.array([[order.index(c) for c in row] for row in component])


def pixel_features(planes):
    """Return the colour and texture bins of each pixel, (C, H, W) and (C * 8, H, W)."""
    colour = planes.astype(int) * 25 // 256
    smooth, slope = taps(1.0, derivative=False), taps(1.0, derivative=True)
    texture = []
    for plane in planes:
        along_x, along_y = correlate(plane, smooth, slope), correlate(plane, slope, smooth)
        step = 255 * 512 * 1024  # the response to a step from 0 to 255
        for response, strongest in (
            (along_x, step),
            (along_y, step),
            (along_x + along_y, int(step * math.sqrt(2))),
            (along_x - along_y, int(step * math.sqrt(2))),
        ):
            for half in (np.maximum(response, 0), np.maximum(-response, 0)):
                texture.append(np.minimum(half * 10 // strongest, 9))
    return colour, np.array(texture)


class Region:
    """A region with its mask, size and box."""

    def __init__(self, mask):
        self.mask = mask
        ys, xs = np.nonzero(mask)
        self.size = len(ys)
        self.box = (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max()))

    def shares(self, features, bins):
        """Return the normalised histogram in units of 2**-20, one feature after the other."""
        counts = np.concatenate([np.bincount(f[self.mask], minlength=bins) for f in features])
        return [int(int(c) * ((1 << 20) * bins / len(counts)) * (1.0 / self.size)) for c in counts]


def similarity(a, b, measures, features, image_pixels):
    """Return the sum of the similarity measures, each 0..2**20."""
    one, covered, total = 1 << 20, a.size + b.size, 0
    colour, texture = features
    if "C" in measures:
        total += sum(map(min, a.shares(colour, 25), b.shares(colour, 25)))
    if "T" in measures:
        total += sum(map(min, a.shares(texture, 10), b.shares(texture, 10)))
    if "S" in measures:
        total += one - covered * one // image_pixels
    if "F" in measures:
        x1, y1 = min(a.box[0], b.box[0]), min(a.box[1], b.box[1])
        x2, y2 = max(a.box[2], b.box[2]), max(a.box[3], b.box[3])
        total += one - ((x2 - x1 + 1) * (y2 - y1 + 1) - covered) * one // image_pixels
    return total


def touch(a, b):
    """Whether two masks share a pixel side."""
    return bool(
        (a[1:] & b[:-1]).any() or (a[:-1] & b[1:]).any() or (a[:, 1:] & b[:, :-1]).any() or (a[:, :-1] & b[:, 1:]).any()
    )


def group(labels, planes, measures):
    """Return the boxes of a hierarchy: the initial regions, then the merged ones in order of creation."""
    features = pixel_features(planes)
    regions = {i: Region(labels == i) for i in range(labels.max() + 1)}
    boxes = [region.box for region in regions.values()]
    known = {}
    while len(regions) > 1:
        for a in regions:
            for b in regions:
                if a < b and (a, b) not in known and touch(regions[a].mask, regions[b].mask):
                    known[a, b] = similarity(regions[a], regions[b], measures, features, labels.size)
        a, b = min(known, key=lambda pair: (-known[pair], pair))
        new = Region(regions.pop(a).mask | regions.pop(b).mask)
        known = {pair: s for pair, s in known.items() if not {a, b} & set(pair)}
        regions[len(boxes)] = new
        boxes.append(new.box)
    return np.array(boxes)


def rank(hierarchies, min_side, seed):
    """Sort boxes by rank times a random number, best first, without duplicates and small boxes."""
    random = np.random.default_rng(seed)
    scored = []
    for boxes in hierarchies:
        for i, box in enumerate(boxes):
            scored.append(((len(boxes) - i) * random.random(), len(scored), tuple(box)))
    kept = []
    for _, _, box in sorted(scored):
        if box not in kept and box[2] - box[0] + 1 >= min_side and box[3] - box[1] + 1 >= min_side:
            kept.append(box)
    return np.array(kept).reshape(-1, 4)
