"""Literal version of EdgeBoxes' score: loops over pixels and groups, without integral images or early exits."""

import math


def affinities(labels, strength, orientation, gamma, reach):
    """Return {(a, b): affinity} of groups with pixels at most `reach` apart, in both orders."""
    height, width = labels.shape
    pixels = {}
    for y in range(height):
        for x in range(width):
            if labels[y, x] >= 0:
                pixels.setdefault(int(labels[y, x]), []).append((y, x))
    middle, direction = {}, {}
    for group, where in pixels.items():
        total = sum(float(strength[p]) for p in where)
        middle[group] = tuple(sum(float(strength[p]) * p[axis] for p in where) / total for axis in (1, 0))
        cosine = sum(float(strength[p]) * math.cos(2 * orientation[p]) for p in where)
        sine = sum(float(strength[p]) * math.sin(2 * orientation[p]) for p in where)
        direction[group] = math.atan2(sine, cosine) / 2
    found = {}
    for a, of_a in pixels.items():
        for b, of_b in pixels.items():
            if a != b and any(max(abs(p[0] - q[0]), abs(p[1] - q[1])) <= reach for p in of_a for q in of_b):
                (ax, ay), (bx, by) = middle[a], middle[b]
                along = math.atan2(by - ay, bx - ax)
                # orientations are across the edge
                turn = math.cos(direction[a] - along - math.pi / 2) * math.cos(direction[b] - along - math.pi / 2)
                found[a, b] = abs(turn) ** gamma
    return found


def path_weights(cut, affinity, weakest):
    """Return {group: largest product of affinities along a path from a cut group (1 for these)}, by relaxation."""
    weight = dict.fromkeys(cut, 1.0)
    changed = True
    while changed:
        changed = False
        for (a, b), value in affinity.items():
            path = weight.get(a, 0) * value
            if path >= weakest and path > weight.get(b, 0):
                weight[b] = path
                changed = True
    return weight


def score(box, labels, strength, affinity, kappa, weakest):
    """Return the score of a box with inclusive corners."""
    x1, y1, x2, y2 = box
    border = [(y, x) for x in range(x1, x2 + 1) for y in (y1, y2)] + [
        (y, x) for y in range(y1, y2 + 1) for x in (x1, x2)
    ]
    cut = {int(labels[p]) for p in border if labels[p] >= 0}
    weight = path_weights(cut, affinity, weakest)
    first, magnitude = {}, {}
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            group = int(labels[y, x])
            if group >= 0:
                first.setdefault(group, (y, x))
                magnitude[group] = magnitude.get(group, 0) + float(strength[y, x])
    total = 0.0
    for group, (y, x) in first.items():
        if x1 <= x <= x2 and y1 <= y <= y2:
            total += magnitude[group] * (1 - weight.get(group, 0))
    half_w, half_h = (x2 - x1 + 1) // 2, (y2 - y1 + 1) // 2
    left, top = x1 + half_w // 2, y1 + half_h // 2
    for y in range(top, top + half_h):
        for x in range(left, left + half_w):
            if labels[y, x] >= 0:
                total -= float(strength[y, x])
    return total / (half_w + half_h) ** kappa
