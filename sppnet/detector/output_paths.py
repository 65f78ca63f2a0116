"""Where the pictures of `sppnet detect` go, and whether they may be written there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from data.folders import files_below
from data.media import Source
from detection.files import file_name
from detection.pictures import video
from sppnet.output_files import check_folder, check_name, identities
from sppnet.settings.commands import DetectSettings

_CROP = re.compile(r"(.+)-\d+")


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by its name."""
    return path.suffix.lower() in video.SUFFIXES


def picture_path(folder: Path, place: Path) -> Path:
    """The picture of a photo or video: an MPEG-4 file of a video, PNG of a PNG file, else JPEG.

    Args:
        folder: of all pictures.
        place: of the results within the folder, see `Source`.
    """
    if is_video(place):
        return folder / place.with_suffix(".mp4")
    return folder / place.with_suffix(".png" if place.suffix.lower() == ".png" else ".jpg")


def crop_path(folder: Path, class_name: str, place: Path, number: int) -> Path:
    """The picture of the `number`th object of a class in a photo, in a folder per class."""
    return picture_path(folder / file_name(class_name), place.with_name(f"{place.stem}-{number}{place.suffix}"))


def check_pictures(settings: DetectSettings, sources: Sequence[Source], json: Path | None) -> None:
    """Check that no output takes the place of an input or of a file that is not from sppnet, and all can be written.

    Args:
        settings: name the folders of pictures and the tables.
        sources: photos and videos.
        json: the json report.

    Raises:
        ValueError: a picture has the name of a table or the report.
        FileExistsError: a file exists that must not be replaced.
        OSError: a folder cannot be written.
    """
    s = settings
    inputs = identities(source.path for source in sources)
    tables = [*s.tables, *([json] if json else [])]
    pictures = [picture_path(s.save, source.place) for source in sources] if s.save else []
    if both := {path.absolute() for path in tables} & {path.absolute() for path in pictures}:
        raise ValueError(f"{both.pop()}: is the name of a picture in --save; choose another name")
    crops = _existing_crops(s.crop, sources) if s.crop else []
    for path in (*tables, *pictures, *crops):
        check_name(path, inputs)
    for folder in {path.parent for path in pictures}:
        check_folder(folder)


def _existing_crops(folder: Path, sources: Sequence[Source]) -> list[Path]:
    """Files in the places of cut-out objects, of whatever class and number."""
    expected = {_key(picture_path(Path(), source.place)) for source in sources if not is_video(source.path)}
    found = []
    for path in files_below(folder) if folder.is_dir() else ():
        within = Path(*path.relative_to(folder).parts[1:])
        match = _CROP.fullmatch(within.stem)
        if match and _key(within.with_name(match[1] + within.suffix)) in expected:
            found.append(path)
    return found


def _key(path: Path) -> str:
    return str(path).casefold()  # file systems may ignore case
