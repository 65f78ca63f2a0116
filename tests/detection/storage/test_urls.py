from pathlib import Path

import pytest

from detection.storage.urls import url_of


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("s3://bucket/run", "s3://bucket/run"),
        ("s3://bucket/run/", "s3://bucket/run"),
        ("S3://bucket/Run", "s3://bucket/Run"),
        ("file:///data/run", "file:///data/run"),
        ("hdfs://host:8020/run", "hdfs://host:8020/run"),
    ],
)
def test_a_path_keeps_its_url(typed, url):
    assert url_of(typed) == url_of(Path(typed)) == url


@pytest.mark.parametrize("typed", ["runs/voc", "/data/s3/run", "C:/runs/voc", "s3:", "a b://c", "./s3:x"])
def test_other_paths_are_of_this_machine(typed):
    assert url_of(Path(typed)) is None
