"""Proposals of many images, written to one proposal file.

`search_file` handles one image; an engine runs it on all. The boxes of each finished image are a file
in the folder `<output>.parts`, from which an interrupted run continues. At the end the parts are merged into the
output.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Container, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detection.engines.engine import Engine, WorkerLost
from detection.engines.processes import Processes
from detection.engines.this_process import ThisProcess
from detection.files import parse_json, write_atomically
from detection.image import read
from detection.photo_record import PhotoRecord
from proposals.io import load, load_one, save, save_one
from proposals.sources import ProposalSettings, propose

if TYPE_CHECKING:
    from data.records import ImageRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """One image to search, and the file for its boxes, in a folder that workers on other machines may not see."""

    id: str
    path: Path
    size: tuple[int, int]
    parts: Path
    settings: ProposalSettings

    @property
    def part(self) -> Path:
        """The file."""
        return self.parts / f"{self.id}.npy"


class _Done(NamedTuple):
    """Outcome of a task: the reason if the image cannot be read, processor seconds, and boxes that are not written."""

    reason: str | None
    seconds: float
    boxes: NDArray[np.float32] | None = None


def search_file(
    path: str | os.PathLike[str], settings: ProposalSettings, size: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Search one image file.

    Args:
        path: the image file.
        settings: settings of the search.
        size: (H, W) stated by the annotation, see `detection.image.read`.

    Returns:
        float32 (R, 4), xyxy, 0-based inclusive image pixels, best first.

    Raises:
        OSError, ValueError: the file cannot be read as an image.
    """
    return propose(read(Path(path), size), settings)


def compute(
    records: Sequence[ImageRecord],
    output: str | os.PathLike[str],
    settings: ProposalSettings | None = None,
    *,
    workers: int = 1,
    engine: Engine | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> dict[str, str]:
    """Write the proposal file of a data set; images finished by an earlier or interrupted run are skipped.

    A photo that was replaced since then is searched again; `photos_file` holds what the photos were. The bytes of the
    file depend on the images and settings only, not on `workers`, the engine or interruptions.

    Args:
        records: the images, in the order in which the file stores them.
        output: the proposal file.
        settings: settings of the search.
        workers: number of worker processes; with 1, this process does the search.
        engine: what does the search instead; its workers need the paths of photos and output to be theirs.
        skip_bad: skip images that cannot be read instead of raising.
        progress: show a progress bar on stderr.

    Returns:
        id -> reason, of the skipped images.

    Raises:
        OSError, ValueError: an image cannot be read and `skip_bad` is False; the message names the image.
        ValueError: the output or its parts were made with other settings; the message names the setting.
    """
    settings, output = settings or ProposalSettings(), Path(output)
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    finished = _without_changed(records, _finished(output, settings), output, settings)
    if all(record.id in finished for record in records):
        _remove_merged(_parts(output), finished)
        return {}
    parts = _open_parts(output, settings)
    tasks = [
        _Task(r.id, r.path, r.size, parts, settings)
        for r in records
        if r.id not in finished and _load_part(parts / f"{r.id}.npy") is None
    ]
    if damaged := [task.part for task in tasks if task.part.exists()]:
        more = f" and {len(damaged) - 1} others" if len(damaged) > 1 else ""
        log.warning("%s%s: damaged, or without checksum; searching these images again", damaged[0], more)
    bad: dict[str, str] = {}
    spent: list[float] = []
    done = len(records) - len(tasks)
    bar = tqdm(total=len(records), initial=done, unit="img", desc="proposals", disable=not progress)
    workers = min(workers, len(tasks))
    engine = engine or (Processes(workers) if workers > 1 else ThisProcess())
    with bar, closing(engine.map(_searcher, tasks)) as results:
        for task, outcome in results:
            try:
                reason, seconds, boxes = outcome.result()
            except WorkerLost as error:
                reason, seconds, boxes = str(error), 0.0, None
            if boxes is not None:
                save_one(task.part, boxes)
            if reason is not None and not skip_bad:
                raise ValueError(f"image {task.id}: {reason}")
            if reason is not None:
                bad[task.id] = reason
            spent.append(seconds)
            bar.update()
    _merge(records, finished, parts, output, settings)
    if spent:
        time_file(output).write_text(json.dumps({"seconds_per_image": sum(spent) / len(spent), "images": len(spent)}))
    return {record.id: bad[record.id] for record in records if record.id in bad}


def photos_file(output: Path) -> Path:
    """Return the path of the json file with the photos that were searched, see `detection.photo_record`."""
    return output.with_name(f"{output.stem}.photos.json")


def time_file(output: Path) -> Path:
    """Return the path of the json file with the search time, kept apart so that the output's bytes do not depend on it.

    It states the mean processor seconds per image, decoding included, over the images that the last call searched.
    """
    return output.with_name(f"{output.stem}.seconds.json")


def _searcher() -> Callable[[_Task], _Done]:
    """What a worker calls on each task."""
    return _search


def _search(task: _Task) -> _Done:
    """Search one image, and write its boxes if the folder is here."""
    started = time.process_time()
    try:
        boxes = search_file(task.path, task.settings, task.size)
    except (OSError, ValueError) as error:
        return _Done((str(error).splitlines() or [type(error).__name__])[0], 0.0)
    seconds = time.process_time() - started
    if not task.parts.is_dir():
        return _Done(None, seconds, boxes)
    save_one(task.part, boxes)
    return _Done(None, seconds)


def _finished(output: Path, settings: ProposalSettings) -> dict[str, NDArray[np.float32]]:
    """Load the proposals that the output already holds, and check that they have these settings."""
    if not output.exists():
        return {}
    proposals, meta = load(output)
    _check_meta(meta, settings, output)
    return proposals


def _without_changed(
    records: Sequence[ImageRecord], finished: dict[str, NDArray[np.float32]], output: Path, settings: ProposalSettings
) -> dict[str, NDArray[np.float32]]:
    """Delete the proposals of photos that were replaced, also those in parts; return the others."""
    photos, parts = PhotoRecord(photos_file(output)), _parts(output)
    now = photos.look(records)
    changed = [i for i in photos.changed(now) if i in finished or (parts / f"{i}.npy").exists()]
    if changed:
        log.info("%d of %d photos changed since they were searched; searching them again", len(changed), len(records))
        kept = {name: boxes for name, boxes in finished.items() if name not in set(changed)}
        if not kept:
            output.unlink(missing_ok=True)
        elif len(kept) < len(finished):
            save(output, kept, settings.meta)
        for image_id in changed:
            (parts / f"{image_id}.npy").unlink(missing_ok=True)
        finished = kept
    photos.note(now)
    return finished


def _parts(output: Path) -> Path:
    return output.with_name(output.name + ".parts")


def _open_parts(output: Path, settings: ProposalSettings) -> Path:
    """Open the folder of parts: a new one, or that of an interrupted run with the same settings."""
    parts = _parts(output)
    parts.mkdir(parents=True, exist_ok=True)
    note = parts / "settings.json"
    if note.exists():
        try:
            meta = parse_json(note.read_text("utf-8"))
        except ValueError:
            raise ValueError(f"{note}: damaged; delete the folder {parts} and start again") from None
        _check_meta(meta, settings, parts)
    else:
        write_atomically(note, [json.dumps(settings.meta, sort_keys=True).encode()])
    return parts


def _remove_merged(parts: Path, finished: Container[str]) -> None:
    """Delete a folder of parts that are all in the output: a process was killed before it could."""
    if parts.is_dir() and all(str(p.relative_to(parts))[: -len(".npy")] in finished for p in parts.rglob("*.npy")):
        shutil.rmtree(parts)


def _check_meta(meta: Any, settings: ProposalSettings, path: Path) -> None:
    """Raise ValueError if a setting of `path` differs from the requested one."""
    for name, asked in settings.meta.items():
        got = meta.get(name) if isinstance(meta, dict) else None
        if got != asked:
            raise ValueError(
                f"{path}: made with {name} {got!r}, expected {asked!r}; delete it or choose another output"
            )


def _load_part(part: Path) -> NDArray[np.float32] | None:
    """Load the boxes of a finished image; None if the part is missing or damaged."""
    try:
        return load_one(part)
    except (FileNotFoundError, ValueError):
        return None


def _merge(
    records: Sequence[ImageRecord],
    finished: dict[str, NDArray[np.float32]],
    parts: Path,
    output: Path,
    settings: ProposalSettings,
) -> None:
    """Write the proposals of the old output and of the parts, in the order of the records; delete the parts."""
    proposals = {}
    for record in records:
        boxes = finished.get(record.id)
        if boxes is None:
            boxes = _load_part(parts / f"{record.id}.npy")
        if boxes is not None:  # None: the image was skipped
            proposals[record.id] = boxes
    # Images of an earlier run that are not among the records are kept at the end.
    proposals.update({name: boxes for name, boxes in finished.items() if name not in proposals})
    save(output, proposals, settings.meta)
    shutil.rmtree(parts)
