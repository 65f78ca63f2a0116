"""Literal reference of VOC evaluation: one class, one detection, one object at a time."""

from __future__ import annotations


def overlap(a, b):
    """IoU of two boxes with inclusive corners; 0 if they do not intersect."""
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / (pixels(a) + pixels(b) - w * h)


def pixels(box):
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def evaluate(detections, records, n_classes, iou_threshold=0.5):
    """Return (recall, precision, ap07, area) of each class; the APs are None for a class without objects."""
    return [_one_class(k, detections, records, iou_threshold) for k in range(n_classes)]


def _one_class(k, detections, records, iou_threshold):
    truth = {}
    n_objects = 0
    for record in records:
        truth[record.id] = [
            {"box": [float(v) for v in box], "difficult": bool(hard), "found": False}
            for box, label, hard in zip(record.boxes, record.labels, record.difficult, strict=True)
            if label == k
        ]
        n_objects += sum(not o["difficult"] for o in truth[record.id])
    lines = [
        (image_id, float(score), [float(v) for v in box])
        for image_id, dets in detections.items()
        for box, score, label in zip(dets.boxes, dets.scores, dets.labels, strict=True)
        if label == k
    ]
    lines.sort(key=lambda line: -line[1])  # stable
    if not n_objects:
        return [], [], None, None
    tp = fp = 0
    recall, precision = [], []
    for image_id, _, box in lines:
        best, best_overlap = None, 0.0
        for thing in truth[image_id]:
            o = overlap(box, thing["box"])
            if o > best_overlap:
                best, best_overlap = thing, o
        if best is not None and best_overlap >= iou_threshold:
            if best["difficult"]:
                continue
            if best["found"]:
                fp += 1
            else:
                tp += 1
                best["found"] = True
        else:
            fp += 1
        recall.append(tp / n_objects)
        precision.append(tp / (tp + fp))
    return recall, precision, eleven_points(recall, precision), area(recall, precision)


def eleven_points(recall, precision):
    total = 0.0
    for t in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        total += max((p for r, p in zip(recall, precision, strict=True) if r >= t), default=0.0)
    return total / 11


def area(recall, precision):
    r = [0.0, *recall, 1.0]
    p = [0.0, *precision, 0.0]
    for i in range(len(p) - 2, -1, -1):
        p[i] = max(p[i], p[i + 1])
    return sum((r[i + 1] - r[i]) * p[i + 1] for i in range(len(r) - 1) if r[i + 1] != r[i])
