"""Damaged inputs, one after another, for every reader."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.campaign import finished
from tests.campaign.mutation import mutate
from tests.campaign.subjects import SUBJECTS
from tests.campaign.verdicts import Outcome, Verdict, judged

CORPUS = Path(__file__).with_name("corpus")
PLACE = b"{FINISHED}"  # stands for the temporary folder of finished runs in the corpus


class Try(NamedTuple):
    """One damaged file of one reader.

    Attributes:
        subject: the reader.
        file: the damaged file, relative to the folder.
        data: its contents.
        outcome: what became of it.
    """

    subject: str
    file: str
    data: bytes
    outcome: Outcome


def attempts(seed: int, count: int | None = None, seconds: float | None = None, only: str = "") -> Iterator[Try]:
    """Damage one file at a time and read it, each reader in turn, until `count` tries or `seconds` are over."""
    started, number = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as top:
        made = {name: _made(Path(top), name) for name in SUBJECTS if only in name}
        while (count is None or number < count) and (seconds is None or time.monotonic() - started < seconds):
            name = list(made)[number % len(made)]
            rng = Random(f"{seed} {number}")
            folder, files = made[name]
            path = files[rng.randrange(len(files))]
            yield attempt(name, folder, path, mutate(path.read_bytes(), path.suffix, rng))
            number += 1


def attempt(subject: str, folder: Path, path: Path, data: bytes) -> Try:
    """Read a folder with other contents of one of its files, which is restored afterwards."""
    if SUBJECTS[subject].writes:
        return _attempt_in_copy(subject, folder, path, data)
    sound, before = path.read_bytes(), _listing(folder)
    path.write_bytes(data)
    try:
        outcome = judged(partial(SUBJECTS[subject].read, folder), (path.name, path.stem, folder.name))
    finally:
        path.write_bytes(sound)
    if _listing(folder) != before:
        outcome = Outcome(Verdict.ACTED, f"files now: {sorted(_listing(folder) ^ before)}"[:300])
    return Try(subject, str(path.relative_to(folder)), data, outcome)


def _attempt_in_copy(subject: str, folder: Path, path: Path, data: bytes) -> Try:
    """The same in a copy of the folder, which is deleted afterwards."""
    file = path.relative_to(folder)
    with tempfile.TemporaryDirectory() as top:
        copy = Path(top).resolve() / folder.name
        shutil.copytree(folder, copy)
        (copy / file).write_bytes(data)
        outcome = judged(partial(SUBJECTS[subject].read, copy), (path.name, path.stem, folder.name), copy)
    return Try(subject, str(file), data, outcome)


def replayed(only: str = "") -> Iterator[Try]:
    """Read every file of the corpus: what once was a fault."""
    for path in sorted(CORPUS.glob("*/*/*")):
        subject, file = path.parent.parent.name, path.parent.name.replace("__", "/")
        if only not in subject:
            continue
        with tempfile.TemporaryDirectory() as top:
            folder, _ = _made(Path(top), subject)
            data = path.read_bytes().replace(PLACE, finished.TOP.encode())
            yield attempt(subject, folder, folder / file, data)


def keep(found: Try) -> Path:
    """Add a fault to the corpus."""
    path = CORPUS / found.subject / found.file.replace("/", "__") / sha256(found.data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(found.data.replace(finished.TOP.encode(), PLACE))
    return path


def table(counts: dict[str, Counter[Verdict]]) -> str:
    """The number of inputs of each reader by what became of them."""
    heads = [v.value for v in Verdict]
    rows = [["", *heads], *([name, *(str(counts[name][v]) for v in Verdict)] for name in counts)]
    rows.append(["all", *(str(sum(c[v] for c in counts.values())) for v in Verdict)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _made(top: Path, name: str) -> tuple[Path, list[Path]]:
    folder = top / name.replace(": ", "-").replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder, SUBJECTS[name].make(folder)


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
