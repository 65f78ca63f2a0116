"""Pictures of what happens in a photo: proposals over its objects and the regions they come from; responses of filters,
bins of a window, and what an SVM's score is made of.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from sppnet import network_views
from tools import common

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from data.records import ImageRecord
    from sppnet.network_views import View


def proposals(options: common.Options) -> View:
    """The best proposal for each annotated object; without annotation, the best-ranked proposals."""
    from detection import image
    from detection.detections import Detections
    from detection.pictures import drawing
    from proposals.recall import best_boxes

    path = _annotation_file(options)
    if path is None:
        photo = image.read(options.image)
        boxes = _boxes(photo, options)
        drawn = boxes[: options.top]
        ranks = [str(rank) for rank in range(1, 1 + len(drawn))]
        picture = drawing.draw(photo, drawn[::-1], ranks[::-1])  # the best last, on top
        return picture, {"boxes": len(boxes), "drawn": len(drawn)}
    record, names = _record(options.image, path)
    photo = image.read(options.image, record.size)
    boxes = _boxes(photo, options)
    best, overlaps = best_boxes(boxes, record.boxes)
    found = Detections(boxes[best], overlaps, record.labels + len(names))
    labels = [*names, *(f"{name} IoU" for name in names)]
    objects = [
        {"class": names[i], "difficult": bool(record.difficult[i]), "iou": overlap, "rank": rank + 1}
        for i, (overlap, rank) in enumerate(zip(overlaps.tolist(), best.tolist(), strict=True))
    ]
    for o in objects:
        print(f"{o['class']}{' (difficult)' * o['difficult']}: IoU {o['iou']:.3f}, box {o['rank']} of {len(boxes)}")
    picture = drawing.draw_comparison(photo, found, record, labels)
    return picture, {"boxes": len(boxes), "objects": objects}


def levels(options: common.Options) -> View:
    """The regions of a photo as selective search merges them, tiled into one sheet."""
    from detection import image
    from proposals.pictures import level_sheet

    photo = image.read(options.image)
    sheet = level_sheet(photo, options.regions, options.space, options.fill, options.seed, options.columns)
    return sheet, {"height": sheet.shape[0], "width": sheet.shape[1]}


def _annotation_file(options: common.Options) -> Path | None:
    """The one named, or the one in the devkit that has the photo's name; None if neither is asked for.

    Raises:
        FileNotFoundError: the devkit has none.
        ValueError: it has several, of different years.
    """
    if options.annotation or not (options.devkit or options.voc2007):
        return options.annotation
    root = options.devkit or options.data_root / "VOCdevkit"
    name = f"{options.image.stem}.xml"
    folders = [root, *([root / "VOC2007"] if options.voc2007 else sorted(root.glob("VOC*")))]
    found = [path for folder in folders if (path := folder / "Annotations" / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{root}: no annotation {name} there; name the file with --annotation")
    if len(found) > 1:
        raise ValueError(f"{root}: {' and '.join(map(str, found))}; name one with --annotation")
    return found[0]


def _record(photo: Path, path: Path) -> tuple[ImageRecord, list[str]]:
    """A photo with each of its objects as a class of its own, which gives it a colour, and their names."""
    import numpy as np

    from data.records import ImageRecord
    from data.voc_xml import read_annotation

    a = read_annotation(path)
    boxes, labels = a.boxes.astype(np.float32), np.arange(len(a.names))
    return ImageRecord(photo.stem, photo, a.size, boxes, labels, a.difficult), list(a.names)


def _boxes(photo: NDArray[np.uint8], options: common.Options) -> NDArray[np.float32]:
    """The photo's boxes in a file, or found now."""
    from proposals import io
    from proposals.sources import ProposalSettings, propose

    told = Path(options.proposals)
    if not told.suffix:
        return propose(photo, ProposalSettings(options.proposals, max_boxes=options.max_boxes))
    image_id = options.image.stem
    boxes, _ = io.load(told, options.order)
    if image_id not in boxes:
        raise ValueError(f"{told}: no boxes of image {image_id!r}, only of {len(boxes)} others; give another file")
    return boxes[image_id][: options.max_boxes]


def _write(picture: NDArray[np.uint8], options: common.Options) -> None:
    """As a file of the kind its name tells, in one step."""
    from io import BytesIO

    from PIL import Image

    from detection.files import write_atomically

    path = options.output or Path(f"{options.image.stem}-{options.command}.png")
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in ("PNG", "JPEG", "WEBP"):
        raise ValueError(f"{path}: --output: expected a name that ends in .png, .jpg or .webp")
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [buffer.getvalue()])
    print(path)


def image_flags(p: argparse.ArgumentParser) -> None:
    """From which photo to which picture."""
    p.add_argument("image", type=Path, metavar="IMAGE", help="a photo")
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="the picture (./<photo>-<command>.png)")


def proposal_flags(p: argparse.ArgumentParser) -> None:
    """Which boxes over which objects."""
    p.add_argument("--annotation", type=Path, metavar="FILE.xml", help="the photo's objects, as VOC has them")
    p.add_argument("--devkit", type=Path, help="a VOCdevkit that has an annotation of the photo's name")
    p.add_argument("--voc2007", action="store_true", help="take VOC2007 of a devkit of several years")
    p.add_argument("--data-root", type=Path, default=Path("datasets"), help="where data sets lie (%(default)s)")
    p.add_argument(
        "--proposals",
        default="ss",
        metavar="SOURCE|FILE",
        help="searched now, as ss, ss-single, ss-quality, edgeboxes or ss+edgeboxes (%(default)s); or boxes by the "
        "photo's name in a .npz, .mat or .json",
    )
    p.add_argument("--max-boxes", type=int, metavar="N", help="choose among the best-ranked (all)")
    p.add_argument("--order", choices=("yxyx", "xyxy"), default="yxyx", help="columns of a .mat file (%(default)s)")
    p.add_argument("--top", type=int, default=20, metavar="N", help="boxes without annotation (%(default)s)")


def level_flags(p: argparse.ArgumentParser) -> None:
    """Which regions, and how they look."""
    from proposals.colour import SPACES
    from proposals.pictures import FILLS, REGIONS

    p.add_argument(
        "--regions",
        type=int,
        nargs="+",
        default=REGIONS,
        metavar="N",
        help=f"how many are left ({' '.join(map(str, REGIONS))})",
    )
    p.add_argument("--space", choices=SPACES, default="hsv", help="of the colours compared (%(default)s)")
    p.add_argument("--fill", choices=FILLS, default="mean", help="colours of regions (%(default)s)")
    p.add_argument("--seed", type=common.seed, default=0, help="of random colours (%(default)s)")
    p.add_argument("--columns", type=int, default=3, help="of the sheet (%(default)s)")


COMMANDS = {"proposals": (proposals, proposal_flags), "levels": (levels, level_flags), **network_views.COMMANDS}


def run(options: common.Options) -> dict[str, Any]:
    """The command that was named."""
    picture, result = COMMANDS[options.command][0](options)
    _write(picture, options)
    return result


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (command, group) in COMMANDS.items():
        text = (command.__doc__ or "").strip()
        flags = common.parser(text, image_flags, group)
        commands.add_parser(name, parents=[flags], add_help=False, help=text, description=text)
    return common.main(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
