"""The run folder: where the files of one run lie, which data set they are of, and who may write them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from errno import ENOLCK
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from data import datasets, voc
from data.records import Dataset
from data.split_names import check_split
from detection.cache import FeatureCache
from detection.config import PRESETS, Config, View
from detection.temporary import remove_leftovers, temporary_path
from sppnet.settings.detector import NetworkSettings, ProposalSettings, PyramidSettings
from sppnet.settings.shared import DatasetSettings, RunSettings
from sppnet.settings.train import TrainSettings

S = TypeVar("S", bound=RunSettings)
DEFAULT_PROPOSALS = "ss"
DEFAULT_BACKBONE = "alexnet"


@dataclass(frozen=True)
class DataSource:
    """Where the labelled photos of a command are.

    Attributes:
        root: the data set's folder or file.
        year: of a VOCdevkit; None: its only one.
        any_format: the format is detected; else it is VOC.
        name: what run folders are called after.
        images: folder of the photos; None: they are in the data set.
    """

    root: Path
    year: str | None
    any_format: bool
    name: str
    images: Path | None = None

    @classmethod
    def of(cls, settings: DatasetSettings) -> DataSource:
        """Find the data set that the settings name, and download VOC 2007 if they ask for it.

        Raises:
            ValueError: the settings name no data set, or contradict each other.
            OSError: the download fails.
        """
        s = settings
        if s.data and (s.devkit or s.voc2007):
            raise ValueError("--data names a data set of any format; leave --devkit and --voc2007 out, or --data")
        if not s.voc2007 and s.devkit is None and s.data is None:
            raise ValueError("which data? give --voc2007, or --data with the path of a data set")
        if s.download and (s.devkit or s.data):
            raise ValueError("--download fetches VOC 2007 into --data-root; leave --devkit out, or --download")
        root = s.data or s.devkit or s.data_root / "VOCdevkit"
        if s.download:
            from data.download import download_voc

            root = download_voc(s.data_root, "2007")
        name, year = ("voc2007", "2007") if s.voc2007 else (root.resolve().stem, None)
        return cls(root, year, s.data is not None, name, s.images)

    def usual_split(self, purpose: str) -> str:
        """The split for "train" or "test", where none is named.

        Raises:
            FileNotFoundError, ValueError: there is no data set, or none of its splits has a usual name.
        """
        if self.any_format or self._one_list:
            return datasets.usual_split(self.root, purpose, images=self.images)
        return {"train": "trainval", "test": "test"}[purpose]

    def splits_to_check(self) -> tuple[str, ...]:
        """The splits for training and testing, or all if their names do not say which these are.

        Raises:
            FileNotFoundError, ValueError: there is no data set, or it is damaged.
        """
        try:
            return self.usual_split("train"), self.usual_split("test")
        except ValueError:
            return datasets.splits(self.root, self.year, self.images)

    @property
    def _one_list(self) -> bool:
        """Whether this is a folder in VOC layout with one list, which is divided automatically."""
        return voc.is_voc(self.root) and self.year is None and datasets.splits(self.root)[:1] == (datasets.ALL,)

    def load(
        self, split: str, classes: Iterable[str] | None = None, skip_bad: bool = False, limit: int | None = None
    ) -> Dataset:
        """The images of one split.

        Args:
            split: of the data set.
            classes: names in label order; None: as the reader finds them.
            skip_bad: leave out unusable images.
            limit: only the first so many.

        Raises:
            OSError, ValueError: the split cannot be read.
        """
        names = None if classes is None else tuple(classes)
        if self.any_format or self._one_list:
            found = datasets.load(self.root, split, classes=names, skip_bad=skip_bad, images=self.images)
        else:
            found = voc.load(self.root, self.year, split, classes=names, skip_bad=skip_bad, images=self.images)
        for record in found:
            if any(map(str.isspace, record.id)):  # comp4 files separate their columns by blanks
                raise ValueError(f"{found.name}: image id {record.id!r} holds white space; rename the image")
        return replace(found, records=found.records[:limit])


@dataclass(frozen=True)
class Run:
    """One run: its folder and its data.

    Attributes:
        folder: holds everything the run makes.
        source: the data set.
        train_split, test_split: names of its splits.
        limit: only the first so many images of each split.
        skip_bad: leave out unusable images.
        classes: names of the classes that are used, in label order; None: all of the data set.
    """

    folder: Path
    source: DataSource
    train_split: str = "trainval"
    test_split: str = "test"
    limit: int | None = None
    skip_bad: bool = False
    classes: tuple[str, ...] | None = None

    @classmethod
    def open(cls, settings: RunSettings, split: str | None = None) -> Run:
        """The run that settings describe; nothing is written.

        Args:
            settings: data set, run folder, splits.
            split: the test split, for commands that call it --split.

        Raises:
            FileNotFoundError, ValueError: there is no such data set, or its splits must be named.
        """
        source = DataSource.of(settings)
        named = {"train": getattr(settings, "train_split", None), "test": getattr(settings, "test_split", split)}
        used = [p for p in named if hasattr(settings, f"{p}_split")] or ["test"]
        splits: dict[str, Any] = {f"{p}_split": named[p] or source.usual_split(p) for p in used}
        for name in splits.values():
            check_split(name)  # files of the run are called after it
        folder = settings.run or Path("runs") / source.name
        run = cls(folder, source, limit=settings.limit, skip_bad=settings.skip_bad, **splits)
        return replace(run, classes=run.named_classes(settings.classes)) if isinstance(settings, TrainSettings) else run

    def named_classes(self, names: Sequence[str] | None) -> tuple[str, ...] | None:
        """Check names of classes against those of the training split.

        Raises:
            ValueError: one is not among them, or is named twice.
        """
        if names is None:
            return None
        known = self.train.classes
        wrong = [name for name in names if name not in known]
        if wrong or len(set(names)) < len(names):
            what = f"{', '.join(wrong)} not in the data set" if wrong else "one is named twice"
            raise ValueError(f"--classes: {what}; {self.source.root} has {', '.join(known)}")
        return tuple(names)

    def resolved(self, settings: S) -> S:
        """The settings with the run folder and splits that were chosen."""
        chosen: dict[str, Any] = {"run": self.folder, "train_split": self.train_split, "test_split": self.test_split}
        if settings.download:  # done; not a second time
            chosen |= {"download": False, "devkit": self.source.root}
        return replace(settings, **{f.name: chosen[f.name] for f in fields(settings) if f.name in chosen})

    def dataset(self, split: str, classes: Iterable[str] | None = None) -> Dataset:
        """The images of one split, at most `limit`."""
        return self.source.load(split, self.classes if classes is None else classes, self.skip_bad, self.limit)

    @property
    def train(self) -> Dataset:
        """The training split."""
        return self.dataset(self.train_split)

    def proposals(self, split: str, settings: ProposalSettings, source: str | None = None) -> Path:
        """File with the proposals of one split.

        Args:
            split: of the data set.
            settings: may name a source or a file.
            source: used if the settings name none; None: the only source that the run has, else "ss".

        Raises:
            ValueError: the run has several sources, and none is named.
        """
        named = settings.proposals
        if named and names_file(named):
            return Path(named.replace("{split}", split))
        there = sorted(p.parent.name for p in self.folder.glob(f"proposals/*/{escape(split)}.npz"))
        if not (named or source) and len(there) > 1:
            raise ValueError(f"{self.folder}: has proposals of {', '.join(there)}; say which with --proposals")
        return self.folder / "proposals" / (named or source or (*there, DEFAULT_PROPOSALS)[0]) / f"{split}.npz"

    def features(self, backbone: str, config: Config, view: View | None = None) -> Path:
        """Folder with the conv5 maps of one network at the scales of a configuration, of one view of the photos."""
        view = view or View()
        precision = () if config.precision == "fp32" else (config.precision,)
        parts = [backbone.replace(":", "-"), *map(str, view.scales(config.pooling.scales)), *precision]
        kind = "mirrored-features" if view.mirror else "features"
        # Training finds its scales by what lies in `features`, so other sizes, which only tests see, lie elsewhere.
        return self.folder / (kind if view.scale == 1 else f"resized-{kind}") / "-".join(parts)

    def model(self, name: str = "model") -> Path:
        """Folder of one of the run's models."""
        return self.folder / name

    @property
    def head(self) -> Path:
        """Folder of the fine-tuned fully connected layers."""
        return self.folder / "head"

    def detections(self, split: str, stage: str) -> Path:
        """File with the detections of one split, before ("windows") or after ("regressed") box regression."""
        return self.folder / "detections" / f"{split}-{stage}.npz"

    @property
    def results(self) -> Path:
        """Folder of scores and result files."""
        return self.folder / "results"


def names_file(proposals: str) -> bool:
    """Whether --proposals names a file of boxes rather than a source; sources have no suffix."""
    return bool(Path(proposals).suffix)


def configuration(settings: NetworkSettings, run: Run | None = None) -> tuple[str, Config]:
    """The network and the constants that settings ask for.

    Args:
        settings: backbone, preset, scales, precision, and the pyramid if they have it.
        run: with it, settings without backbone and scales take both, and preset and precision unless they are set,
            from the run's features, if it has only one kind.

    Returns:
        the backbone's name and the configuration.
    """
    backbone, scales, preset, precision = settings.backbone, settings.scales, settings.preset, settings.precision
    if run is not None and backbone is None and scales is None:
        manifests = sorted(run.folder.glob("features/*/manifest.json"))
        if len(manifests) == 1:
            manifest = FeatureCache(manifests[0].parent).manifest
            backbone, scales = manifest["network"], tuple(manifest["scales"])
            preset, precision = preset or manifest["preset"], precision or manifest.get("precision")
    config = replace(PRESETS[preset or "paper"], precision=precision or "fp32")
    if isinstance(settings, PyramidSettings):
        given = {name: getattr(settings, name) for name in ("levels", "context") if getattr(settings, name)}
        config = replace(config, pooling=replace(config.pooling, **given))
    return backbone or DEFAULT_BACKBONE, config.with_scales(scales) if scales else config


@contextmanager
def exclusive(artefact: Path) -> Iterator[None]:
    """Keep other processes off a file or folder of a run while it is made, and delete what killed ones left of it.

    Where nothing can be written, a finished artefact can be read without a lock, as nobody changes it.

    Raises:
        RuntimeError: another process is making it.
        OSError: the folder cannot be created or locked.
    """
    artefact.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(artefact)
    if lock is None:
        yield
        return
    try:
        for folder in (artefact.parent, artefact, *(path for path in artefact.rglob("*") if path.is_dir())):
            remove_leftovers(folder)
        yield
    finally:
        lock.release()


def _lock(artefact: Path) -> FileLock | None:
    """Return the acquired lock of an artefact; None where its folder and the one it lies in are read-only."""
    lock = FileLock(artefact.with_name(f".{artefact.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"{artefact}: another process is working on it; wait for it, or choose another --run"
        ) from None
    except (OSError, NotImplementedError) as error:
        if not any(os.access(folder, os.W_OK) for folder in (artefact.parent, artefact) if folder.is_dir()):
            return None
        number, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (ENOLCK, error)
        what = f"cannot be locked ({reason or error}); choose a --run folder on a disk that can be written and locked"
        raise OSError(number or ENOLCK, what, str(artefact)) from error
    return lock


@contextmanager
def set_aside(*files: Path) -> Iterator[None]:
    """Take finished results away while --overwrite makes them anew: the command, if interrupted, continues without it.

    If an error ends the work before there is a new result, the old one comes back.

    Args:
        files: without one of which the stage is not finished; they need not exist.
    """
    aside = {path: temporary_path(path) for path in files if path.is_file()}
    for path, place in aside.items():
        os.replace(path, place)
    interrupted = True
    try:
        yield
        interrupted = False
    except Exception:
        interrupted = False
        raise
    finally:
        for path, place in aside.items():
            if interrupted or path.exists():
                place.unlink(missing_ok=True)
            else:
                os.replace(place, path)
