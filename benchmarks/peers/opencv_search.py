"""OpenCV contrib's selective search, for an environment where cv2 is the contrib build.

Without arguments it is a worker: it reads one request per line, `{"row": ..., "path": ...}`, and answers
`{"seconds": ..., "boxes": ...}`. With arguments it writes the boxes of a list of photos for `evaluate_proposals`:

    python opencv_search.py --photos JPEGImages --ids test.txt --row fast --output opencv.json
"""

import argparse
import json
import sys
import time
from pathlib import Path

import cv2

STRATEGIES = {"C": "Color", "T": "Texture", "S": "Size", "F": "Fill"}
SPACES = ("hsv", "lab", "rgi", "h", "i")


def planes(bgr, space):
    """Convert an image to a colour space as OpenCV's own modes do."""
    if space == "hsv":
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV)
    if space == "lab":
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB)
    if space == "h":
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV)[:, :, 0]
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    return grey if space == "i" else cv2.merge([bgr[:, :, 2], bgr[:, :, 1], grey])


def search(bgr, hierarchies):
    """Search with hierarchies {"spaces", "measures", "scales"}, or with a mode of OpenCV by name."""
    segmentation = cv2.ximgproc.segmentation
    find = segmentation.createSelectiveSearchSegmentation()
    find.setBaseImage(bgr)
    if isinstance(hierarchies, str):
        find.switchToSelectiveSearchFast(50, 50) if hierarchies == "fast" else find.switchToSingleStrategy(100)
        return find.process()
    for space in hierarchies["spaces"]:
        find.addImage(planes(bgr, space))
    for k, min_size in hierarchies["scales"]:
        find.addGraphSegmentation(segmentation.createGraphSegmentation(0.8, k, min_size))
    for measures in hierarchies["measures"]:
        together = segmentation.createSelectiveSearchSegmentationStrategyMultiple()
        for letter in measures:
            make = getattr(segmentation, f"createSelectiveSearchSegmentationStrategy{STRATEGIES[letter]}")
            together.addStrategy(make(), 1.0 / len(measures))
        find.addStrategy(together)
    return find.process()


MIN_SIDE = 20  # px, as in this project


def timed(path, row):
    """Search a photo; return the seconds without decoding, and the boxes as x y w h."""
    image = cv2.imread(str(path))
    start = time.perf_counter()
    found = search(image, row)
    return time.perf_counter() - start, found


def serve():
    """Answer requests until the pipe closes."""
    for line in sys.stdin:
        request = json.loads(line)
        seconds, found = timed(request["path"], request["row"])
        print(json.dumps({"seconds": seconds, "boxes": len(found)}), flush=True)


def write(options):
    """Write the boxes of each photo: xyxy, 0-based inclusive, best first."""
    row = json.loads(options.row) if options.row.startswith("{") else options.row
    boxes, total = {}, 0.0
    for name in options.ids.read_text().split():
        seconds, found = timed(options.photos / f"{name}.jpg", row)
        total += seconds
        large = found[(found[:, 2:] >= MIN_SIDE).all(axis=1)]
        boxes[name] = [[int(x), int(y), int(x + w - 1), int(y + h - 1)] for x, y, w, h in large]
    options.output.write_text(json.dumps(boxes))
    print(f"{total / len(boxes):.3f} s per photo")


def main():
    """Answer requests, or write a file."""
    cv2.setNumThreads(1)
    if len(sys.argv) == 1:
        return serve()
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--photos", type=Path, required=True)
    flags.add_argument("--ids", type=Path, required=True)
    flags.add_argument("--row", required=True, help="fast, single, or hierarchies as json")
    flags.add_argument("--output", type=Path, required=True)
    return write(flags.parse_args())


if __name__ == "__main__":
    main()
