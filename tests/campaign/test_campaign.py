"""A seeded slice of the campaign, and proof that it notices faults."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.campaign import fuzz
from tests.campaign.mutation import mutate
from tests.campaign.verdicts import Verdict, judged

ROOT = Path(__file__).parents[2]
SOME = ("full file system",)  # of the conditions
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system starts no processes by fork")


def campaign(*flags):
    """Run it in a process of its own: children of one that has computed could wait for its threads."""
    words = [sys.executable, "-m", "tests.campaign", *map(str, flags)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)


@forks
@pytest.mark.slow
def test_damaged_inputs_get_clear_answers():
    done = campaign("--parts", "inputs", "--inputs", 120, "--seed", 20)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@forks
@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_files():
    done = campaign("--parts", "kills", "--kills", 1, "--seed", 3)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@forks
@pytest.mark.slow
def test_a_training_on_a_full_disk_continues_to_the_same_files():
    done = campaign("--parts", "conditions", "--conditions", *SOME, "--seed", 5)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert all(f"{name}: 1" in done.stdout for name in SOME), done.stdout


@forks
@pytest.mark.slow
def test_the_server_survives_a_crowd():
    done = campaign("--parts", "server", "--uploads", 48, "--seed", 4, "--ends-within", 12)  # beside other tests
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def write_a_file(folder):
    (folder / "new").write_text("x")


def start_a_program(folder):
    subprocess.run(["true"], check=False)


def say_little(folder):
    raise ValueError("no")


def die(folder):
    os.kill(os.getpid(), signal.SIGKILL)


def raise_another(folder):
    raise KeyError("a")


@forks
@pytest.mark.parametrize(
    ("read", "verdict"),
    [
        (lambda folder: None, Verdict.READ),
        (lambda folder: "a box outside", Verdict.WRONG),
        (lambda folder: Path("absent-a.xml").read_text(), Verdict.REFUSED),
        (say_little, Verdict.UNCLEAR),
        (raise_another, Verdict.TRACEBACK),
        (lambda folder: time.sleep(60), Verdict.HANG),
        (die, Verdict.CRASH),
        (write_a_file, Verdict.ACTED),
        (start_a_program, Verdict.ACTED),
    ],
)
def test_verdicts(tmp_path, monkeypatch, read, verdict):
    monkeypatch.setattr("tests.campaign.verdicts.LONGEST", 1.0)
    assert judged(lambda: read(tmp_path), ["a.xml"]).verdict is verdict


@forks
def test_a_reader_may_write_into_its_own_folder_only(tmp_path):
    own = tmp_path.resolve() / "own"
    own.mkdir()
    assert judged(lambda: write_a_file(own), ["a.xml"], own).verdict is Verdict.READ
    assert (own / "new").is_file()
    assert judged(lambda: write_a_file(own / ".."), ["a.xml"], own).verdict is Verdict.ACTED


def test_json_within_an_archive_is_damaged_as_values_too():
    buffer = io.BytesIO()
    header = np.frombuffer(json.dumps({"ids": ["a", "b"], "meta": {"classes": ["c"]}}).encode(), np.uint8)
    np.savez(buffer, header=header)
    changed = set()
    for seed in range(200):
        with (
            contextlib.suppress(Exception),
            np.load(io.BytesIO(mutate(buffer.getvalue(), ".npz", Random(seed)))) as made,
        ):
            changed.add(json.dumps(json.loads(made["header"].tobytes())))
    assert len(changed) > 20


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".xml", ".csv", ".jpg"])
def test_damage_is_repeatable_and_never_none(suffix):
    data = {".json": b'{"a": [1, 2]}', ".yaml": b"a: [1, 2]", ".xml": b"<a><b>1</b></a>"}.get(suffix, b"a,b\n1,2\n")
    made = [mutate(data, suffix, Random(seed)) for seed in range(60)]
    assert made == [mutate(data, suffix, Random(seed)) for seed in range(60)]
    assert data not in made
    assert len(set(made)) > 30


def test_every_fault_of_the_corpus_has_a_reader():
    for path in fuzz.CORPUS.glob("*"):
        assert path.name in fuzz.SUBJECTS
    assert len(list(fuzz.CORPUS.glob("*/*/*"))) > 40
