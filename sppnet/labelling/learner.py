"""The detector of one project, its photos and what it has learned, in one folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data import photo_files
from detection import detection_table, features, model
from detection.cache import FeatureCache
from detection.detections import Detections
from detection.image import read
from detection.model_settings import MODEL
from detection.parallel import thread_count
from detection.photo_record import PhotoRecord
from detection.training import live
from detection.training.images import TrainingImages
from detection.training.live import LiveCatchup, LiveDetector
from detection.training.mining import MiningOptions
from proposals import io as proposal_files
from proposals.sources import propose
from sppnet.errors import one_line
from sppnet.labelling.base import Base
from sppnet.labelling.labelled_folder import LabelledFolder
from sppnet.labelling.regions import LabelledBoxes
from sppnet.progress import log
from sppnet.run import DataSource, Run
from sppnet.server import uploads
from sppnet.server.uploads import UploadLimits

DATA, LIVE = "data", "live"  # folders of the labelled photos and of the model, within that of the project
CHECKPOINTS, WINDOWS, HELD_OUT = "training", "windows", "held-out.npz"  # within that of the model
MEMORY = 2**30  # bytes of feature rows held in memory
NEGATIVES = 30  # hard negatives per photo and class; more cost time and do not help with some hundred photos
SPLITS = ("train", "test")  # into which a data set with one list is divided
Fetch = Callable[[], bytes]


class Learner:
    """Learns photo by photo; its folder is that of a run, with which `sppnet train` can go on.

    One thread calls the methods; any may read `version`.

    Args:
        folder: of the project; created if absent. What was kept there before is continued.
        base: what the detector begins with.
        classes: names in label order; those of an earlier time come first.
        limits: largest photo.
    """

    def __init__(self, folder: Path, base: Base, classes: tuple[str, ...], limits: UploadLimits) -> None:
        self.base, self.limits = base, limits
        self.labelled = LabelledFolder(folder / DATA)
        self.run = Run(folder, DataSource(folder / DATA, None, True, folder.name), *SPLITS)
        self.cache = FeatureCache(self.run.features(base.body.name, base.config), base.manifest())
        self.model_folder = self.run.model(LIVE)
        (self.model_folder / WINDOWS).mkdir(parents=True, exist_ok=True)
        records = self.labelled.records(classes)
        windows = {record.id: self._prepared(record.id, record.path) for record in records}
        start = base.start(classes)
        images = TrainingImages(records, windows, self.cache, base.config.pooling, len(classes), start.fc)
        folder = self.model_folder / CHECKPOINTS
        options = MiningOptions(folder, MEMORY, "shared", NEGATIVES, base.seed)
        self.detector = LiveDetector(start, images, base.svm_config, options)
        self._resume(classes)
        self._kept = self.detector.version

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in label order."""
        return self.detector.model.classes

    @property
    def version(self) -> str:
        """Name of the newest model: the same weights have the same name."""
        return f"{len(self.detector.svms.ids)}-photos-{live.digest(self.detector.model)[:8]}"

    @property
    def knows(self) -> bool:
        """Whether some class can be detected."""
        return bool(np.isfinite(self.detector.model.svms.bias).any())

    def widen(self, labels: tuple[str, ...]) -> None:
        """Add the classes that are new."""
        classes = tuple(dict.fromkeys((*self.classes, *labels)))
        if classes != self.classes:
            self.detector.widen(self.base.start(classes))

    def detect(self, image_id: str, fetch: Fetch) -> tuple[Detections, tuple[int, int]]:
        """Detect the objects of a photo; its windows and maps are made if they are missing.

        Args:
            image_id: of the photo in the data set.
            fetch: returns the file of a photo that is not there.

        Returns:
            the detections to show, and (H, W) of the photo in pixels.

        Raises:
            RequestRefused, ValueError, OSError: the photo cannot be used.
        """
        windows = self.prepare(image_id, fetch)
        pyramid = features.load_pyramid(self.cache, image_id)
        return live.detect(self.detector.model, pyramid, windows).shown(), pyramid.image_size

    def learn(self, image_id: str, fetch: Fetch, objects: Callable[[tuple[int, int]], LabelledBoxes]) -> LabelledBoxes:
        """Learn the objects of a photo in place of earlier ones.

        Args:
            image_id: of the photo in the data set.
            fetch: returns the file of a photo that is not there.
            objects: returns the boxes for (H, W) of the photo in pixels.

        Raises:
            RequestRefused, ValueError, OSError: the photo cannot be used.
        """
        windows = self.prepare(image_id, fetch)
        size = features.load_pyramid(self.cache, image_id).image_size
        found = objects(size)
        self.labelled.label(image_id, found, size)
        self.detector.put(self.labelled.record(image_id, self.classes), windows)
        return found

    def forget(self, image_id: str) -> None:
        """Forget the objects of a photo, if it is labelled; the photo stays."""
        self.labelled.remove_label(image_id)
        self.detector.remove(image_id)

    def prepare(self, image_id: str, fetch: Fetch) -> NDArray[np.float32]:
        """Fetch and convolve a photo unless that is done, and return its windows: float32 (R, 4), image pixels."""
        path = self.labelled.photo(image_id)
        if path is None:
            data = fetch()
            uploads.decode(data, self.limits)
            kind = photo_files.open_photo(io.BytesIO(data), image_id).picture.format
            path = self.labelled.add_photo(image_id, data, kind or "JPEG")
        return self._prepared(image_id, path)

    def keep(self) -> None:
        """Write what a restart continues with: checkpoint, model, and detections of photos before they were learned."""
        if self._kept == self.detector.version:
            return
        photos = PhotoRecord(self.cache.photos)
        photos.note(photos.look(self.detector.images.records))
        self.detector.svms.save()
        self.detector.model.save(self.model_folder)
        detection_table.save_npz(self.model_folder / HELD_OUT, self.detector.held_out)
        self._kept = self.detector.version

    def hand_over(self) -> None:
        """Write the windows where `sppnet train` looks for them, if there are labelled photos."""
        windows = self.detector.images.proposals
        found = {record.id: windows[record.id] for record in self.detector.images.records}
        for split in SPLITS if found else ():
            path = self.run.folder / "proposals" / self.base.windows.source / f"{split}.npz"
            proposal_files.save(path, found, self.base.windows.meta)

    def adopt(self, trained: LiveCatchup) -> None:
        """Continue from a training that is finished."""
        self.detector.adopt(trained)

    def _prepared(self, image_id: str, path: Path) -> NDArray[np.float32]:
        """Convolve a photo whose file is there unless that is done, and return its windows."""
        file = self.model_folder / WINDOWS / f"{image_id}.npy"
        if image_id in self.cache and (found := _windows(file)) is not None:
            return found
        photo = read(path)
        windows = propose(photo, self.base.windows, thread_count())
        proposal_files.save_one(file, windows)
        pyramid = features.compute_pyramid(photo, self.base.body, self.base.config.pooling.scales)
        features.store_pyramid(self.cache, image_id, pyramid)
        return windows

    def _resume(self, classes: tuple[str, ...]) -> None:
        """Take up the model that was kept, if there is one of these classes, convolutions and levels."""
        if not (self.model_folder / MODEL).is_file():
            return
        try:
            saved = model.load(self.model_folder)
            held_out: Mapping[str, Detections] = detection_table.load_npz(self.model_folder / HELD_OUT)[0]
        except (OSError, ValueError) as error:
            log.warning("%s; learning anew", one_line(error))
            return
        same = saved.weights_hash == self.base.body.weights_hash and set(saved.classes) <= set(classes)
        if same and saved.pooled_length == saved.config.pooling.bins * self.base.body.channels:
            self.detector.resume(saved.with_classes(classes), held_out)


def _windows(path: Path) -> NDArray[np.float32] | None:
    """The windows of a photo, float32 (R, 4); None if there are none yet or, with a warning, if they are damaged."""
    try:
        return proposal_files.load_one(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: %s; searching the photo again", path, one_line(error))
        return None
