"""Downloads, with local tar files instead of the server."""

import hashlib
import io
import tarfile

import pytest
import torchvision
from torchvision.datasets import voc as torchvision_voc

from data import voc
from data.download import download_voc

XML = (
    "<annotation><size><width>9</width><height>9</height></size><object><name>cat</name><bndbox><xmin>1</xmin>"
    "<ymin>1</ymin><xmax>9</xmax><ymax>5</ymax></bndbox></object></annotation>"
)


def put_tar(root, monkeypatch, key, split, image_id, *, with_image=True):
    """Write a tar file like the VOC server's, and register its checksum with torchvision."""
    files = {f"ImageSets/Main/{split}.txt": image_id, f"Annotations/{image_id}.xml": XML}
    if with_image:
        files[f"JPEGImages/{image_id}.jpg"] = "jpeg"
    info = dict(torchvision_voc.DATASET_YEAR_DICT[key])
    path = root / info["filename"]
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"VOCdevkit/VOC2007/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    info["md5"] = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(torchvision_voc.DATASET_YEAR_DICT, key, info)


def no_network(*args, **options):
    raise OSError("<urlopen error [Errno -2] Name or service\nnot known>")


def test_both_splits_are_unpacked_into_a_devkit_that_loads(tmp_path, monkeypatch):
    put_tar(tmp_path, monkeypatch, "2007", "trainval", "000005")
    put_tar(tmp_path, monkeypatch, "2007-test", "test", "000001")
    devkit = download_voc(tmp_path)
    assert devkit == tmp_path / "VOCdevkit"
    assert [r.id for r in voc.load(devkit, "2007", "trainval")] == ["000005"]
    assert [r.id for r in voc.load(devkit, "2007", "test")] == ["000001"]


def test_complete_splits_are_not_downloaded_again(tmp_path, monkeypatch):
    put_tar(tmp_path, monkeypatch, "2007", "trainval", "000005")
    put_tar(tmp_path, monkeypatch, "2007-test", "test", "000001")
    download_voc(tmp_path)
    monkeypatch.setattr(torchvision.datasets, "VOCDetection", no_network)
    assert download_voc(tmp_path) == tmp_path / "VOCdevkit"
    (tmp_path / "VOCdevkit/VOC2007/JPEGImages/000001.jpg").unlink()
    with pytest.raises(OSError, match="VOC 2007 test: download"):
        download_voc(tmp_path)


def test_a_network_failure_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "VOCDetection", no_network)
    with pytest.raises(OSError, match=r"VOC 2007 trainval: download into .* failed .*Name or service not known") as e:
        download_voc(tmp_path)
    assert "\n" not in str(e.value)


def test_a_tar_file_without_images_is_an_error(tmp_path, monkeypatch):
    put_tar(tmp_path, monkeypatch, "2007", "trainval", "000005", with_image=False)
    with pytest.raises(OSError, match="files are missing"):
        download_voc(tmp_path)


def test_only_years_with_public_annotations_are_offered(tmp_path):
    with pytest.raises(ValueError, match="year: expected one of 2007, 2012, got '1999'"):
        download_voc(tmp_path, "1999")


def test_2012_has_no_test_split(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        torchvision.datasets, "VOCDetection", lambda root, year, image_set, download: asked.append(image_set)
    )
    with pytest.raises(OSError, match="files are missing"):
        download_voc(tmp_path, "2012")
    assert asked == ["trainval"]
