"""Box regressors of an unfinished training, one file per class, which ends in a checksum."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path

import numpy as np

from detection.bbox_regression import BoxRegressor
from detection.checked_file import read_checked, write_checked

log = logging.getLogger(__name__)


class RegressorParts:
    """The regressors that are finished, so that an interrupted training resumes.

    Args:
        folder: folder of the files.
        key: fingerprint of the training; files of another training are ignored.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key

    def get(self, k: int) -> BoxRegressor | None:
        """Return the regressor of class k; None if it was not saved or, with a warning, if its file is damaged."""
        path = self._path(k)
        if not path.is_file():
            return None
        try:
            with np.load(io.BytesIO(read_checked(path)), allow_pickle=False) as file:
                if str(file["key"]) == self.key and len(file["mean"]):  # older files of classes without windows: empty
                    return BoxRegressor(file["weights"], file["mean"])
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            log.warning("%s is damaged (%s); training the regressor of this class again", path, error)
        return None

    def put(self, k: int, regressor: BoxRegressor) -> None:
        """Save the regressor of class k; the folder is created if absent.

        Raises:
            OSError: the file cannot be written.
        """
        buffer = io.BytesIO()
        np.savez(buffer, key=self.key, weights=regressor.weights, mean=regressor.mean)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_checked(self._path(k), buffer.getbuffer())

    def _path(self, k: int) -> Path:
        return self.folder / f"regressor-{k}.npz"


def remove(folder: Path) -> None:
    """Delete the files of a finished training."""
    for path in folder.glob("regressor-*.npz"):
        path.unlink()
