"""Box regressors of an unfinished training, one file per class."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from detection.bbox_regression import BoxRegressor
from detection.files import write_atomically


class RegressorParts:
    """The regressors that are finished, so that an interrupted training resumes.

    Args:
        folder: folder of the files.
        key: fingerprint of the training; files of another training are ignored.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key

    def get(self, k: int) -> BoxRegressor | None:
        """Return the regressor of class k; None if it was not saved, or its file is damaged."""
        try:
            with self._path(k).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if str(file["key"]) == self.key and len(file["mean"]):  # older files of classes without windows: empty
                    return BoxRegressor(file["weights"], file["mean"])
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            pass
        return None

    def put(self, k: int, regressor: BoxRegressor) -> None:
        """Save the regressor of class k; the folder is created if absent.

        Raises:
            OSError: the file cannot be written.
        """
        buffer = io.BytesIO()
        np.savez(buffer, key=self.key, weights=regressor.weights, mean=regressor.mean)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path(k), [buffer.getvalue()])

    def _path(self, k: int) -> Path:
        return self.folder / f"regressor-{k}.npz"


def remove(folder: Path) -> None:
    """Delete the files of a finished training."""
    for path in folder.glob("regressor-*.npz"):
        path.unlink()
