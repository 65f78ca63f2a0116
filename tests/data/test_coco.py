"""COCO files that contradict themselves or the photos."""

import codecs
import json

import pytest

from data import coco
from tests.data.test_yolo import photo


def write(root, images, annotations, categories=((1, "cat"), (2, "dog")), encode=str.encode):
    """Write boxes.json: (id, file) of images, (image id, category id, box) of annotations or dicts."""
    for _, file in images:
        photo(root / file)
    content = {
        "images": [{"id": i, "file_name": file, "width": 100, "height": 50} for i, file in images],
        "annotations": [
            a if isinstance(a, dict) else {"id": n, "image_id": a[0], "category_id": a[1], "bbox": a[2]}
            for n, a in enumerate(annotations)
        ],
        "categories": [{"id": i, "name": name} for i, name in categories],
    }
    (root / "boxes.json").write_bytes(encode(json.dumps(content)))
    return root


A, B = [0, 0, 10, 10], [20, 20, 10, 10]


def test_a_photo_listed_under_two_ids_has_the_objects_of_both(tmp_path, caplog):
    images = [(1, "a.png"), (2, "b.png"), (7, "./a.png")]
    found = coco.load(write(tmp_path, images, [(1, 1, A), (7, 2, B), (7, 1, A), (2, 1, B)]), "all")
    first, second = found
    assert [first.id, second.id] == ["a", "b"]
    assert first.boxes.tolist() == [[0, 0, 9, 9], [20, 20, 29, 29]]
    assert first.labels.tolist() == [0, 1]
    assert len(second.boxes) == 1
    assert "photos listed more than once, used once: 1; a: ids 1, 7" in caplog.text


def test_a_photo_listed_twice_with_two_sizes_is_refused(tmp_path):
    path = write(tmp_path, [(1, "a.png"), (7, "a.png")], [(1, 1, A)]) / "boxes.json"
    path.write_text(path.read_text().replace('"width": 100', '"width": 90', 1))
    with pytest.raises(ValueError, match=r"a\.png: is listed 2 times, with sizes \(50, 90\) and \(50, 100\)"):
        coco.load(tmp_path, "all")


@pytest.mark.parametrize(
    ("images", "categories"),
    [([(1, "a.png"), (1, "b.png")], [(1, "cat")]), ([(1, "a.png")], [(3, "cat"), (3, "dog")])],
)
def test_one_id_for_two_things_is_refused(tmp_path, images, categories):
    with pytest.raises(ValueError, match=r"boxes\.json: .* have the same id"):
        coco.load(write(tmp_path, images, [], categories), "all")


def test_annotations_without_a_photo_are_counted_and_named(tmp_path, caplog):
    found = coco.load(write(tmp_path, [(1, "a.png")], [(1, 1, A), (9, 1, A)]), "all")
    assert len(found[0].boxes) == 1
    assert found.notes == {"labels without a photo": (f"{tmp_path / 'boxes.json'}: annotation 1 of image 9",)}
    assert "labels without a photo: 1" in caplog.text


@pytest.mark.parametrize(
    ("flag", "difficult"),
    [(0, False), (1, True), ("0", False), ("1", True), ("false", False), (None, False), (True, True)],
)
def test_flags_may_be_numbers_or_words(tmp_path, flag, difficult):
    annotation = {"image_id": 1, "category_id": 1, "bbox": A, "iscrowd": flag}
    assert coco.load(write(tmp_path, [(1, "a.png")], [annotation]), "all")[0].difficult.tolist() == [difficult]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path, mark):
    encoding = "utf-8" if mark == codecs.BOM_UTF8 else "utf-16-le"
    root = write(tmp_path, [(1, "a.png")], [(1, 1, A)], encode=lambda text: mark + text.encode(encoding))
    assert len(coco.load(root, "all")[0].boxes) == 1


def test_the_photos_of_a_single_file_may_lie_in_the_folder_of_its_name(tmp_path):
    root = write(tmp_path, [(1, "a.png")], [(1, 1, A)])
    (root / "Annotations").mkdir()
    (root / "boxes.json").rename(root / "Annotations" / "instances_train2017.json")
    (root / "Images" / "train2017").mkdir(parents=True)
    (root / "a.png").rename(root / "Images" / "train2017" / "a.png")
    assert coco.load(root, "all")[0].path == root / "Images" / "train2017" / "a.png"


def test_a_missing_first_photo_is_one_missing_photo(tmp_path):
    root = write(tmp_path, [(1, "a.png"), (2, "b.png")], [(1, 1, A), (2, 2, B)])
    (root / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"image is missing: .*a\.png"):
        coco.load(root, "all")
    found = coco.load(root, "all", skip_bad=True)
    assert ([r.id for r in found], list(found.bad)) == (["b"], ["a"])
