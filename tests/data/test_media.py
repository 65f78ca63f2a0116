"""Photos given as files, folders and patterns: which are found, and where their results go."""

import logging

import pytest

from data import media


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(folder, *given, **options):
    return [s.path.relative_to(folder).as_posix() for s in media.find([str(g) for g in given], **options)]


def test_links_to_folders_are_followed_and_each_photo_is_found_once(tmp_path):
    touch(tmp_path / "photos" / "below" / "a.jpg", tmp_path / "disk" / "b.jpg")
    (tmp_path / "photos" / "elsewhere").symlink_to(tmp_path / "disk")
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "photos" / "below")
    (tmp_path / "photos" / "a-copy.jpg").symlink_to(tmp_path / "photos" / "below" / "a.jpg")
    expected = ["photos/a-copy.jpg", "photos/elsewhere/b.jpg"]
    assert names(tmp_path, tmp_path / "photos") == expected
    assert names(tmp_path, tmp_path / "photos" / "**" / "*.jpg") == expected


def test_circles_of_links_end(tmp_path):
    touch(tmp_path / "photos" / "below" / "a.jpg")
    for place in ("one", "two", "below/three"):
        (tmp_path / "photos" / place).symlink_to(tmp_path / "photos")
    assert names(tmp_path, tmp_path / "photos") == ["photos/below/a.jpg"]
    assert names(tmp_path, tmp_path / "photos" / "**" / "*.jpg") == ["photos/below/a.jpg"]


def test_patterns_match_as_in_a_shell(tmp_path, monkeypatch):
    touch(*(tmp_path / "photos" / p for p in ("a.jpg", "b.png", ".c.jpg", "x/a.jpg", "x/y/a.jpg")))
    monkeypatch.chdir(tmp_path)
    for pattern, expected in {
        "photos/*.jpg": ["photos/a.jpg"],
        "photos/[ab].*": ["photos/a.jpg", "photos/b.png"],
        "photos/?/*.jpg": ["photos/x/a.jpg"],
        "photos/**/a.jpg": ["photos/a.jpg", "photos/x/a.jpg", "photos/x/y/a.jpg"],
        "**/y/*": ["photos/x/y/a.jpg"],
        "photos/**": ["photos/a.jpg", "photos/b.png", "photos/x/a.jpg", "photos/x/y/a.jpg"],
        "photos/../photos/a*": ["photos/../photos/a.jpg"],
    }.items():
        assert [str(s.path) for s in media.find([pattern])] == expected, pattern
    with pytest.raises(FileNotFoundError, match="no file that matches it as a pattern"):
        media.find(["photos/*.bmp"])


def test_brackets_of_a_real_folder_are_no_pattern(tmp_path):
    touch(
        tmp_path / "photos [2024]" / "a[1].jpg", tmp_path / "photos [2024]" / "a1.jpg", tmp_path / "photos 2" / "b.jpg"
    )
    folder = tmp_path / "photos [2024]"
    for pattern in ("*.jpg", "**/*.jpg"):
        assert names(tmp_path, folder / pattern) == ["photos [2024]/a1.jpg", "photos [2024]/a[1].jpg"]
    assert names(tmp_path, folder / "a[1].jpg") == ["photos [2024]/a[1].jpg"]
    assert names(tmp_path, tmp_path / "photos [0-9]" / "*.jpg") == ["photos 2/b.jpg"]


def test_own_pictures_are_left_out_unless_there_are_no_others(tmp_path, caplog):
    touch(tmp_path / "photos" / "a.jpg", tmp_path / "photos" / "found" / "a.jpg")
    caplog.set_level(logging.INFO)

    def is_own(path):
        return path.parent.name == "found"

    for given in (tmp_path / "photos", tmp_path / "photos" / "**" / "*.jpg"):
        caplog.clear()
        assert names(tmp_path, given, is_own=is_own) == ["photos/a.jpg"]
        (said,) = caplog.records
        assert said.getMessage().endswith(
            f"left out 1 of 2 files, which sppnet wrote itself: {tmp_path}/photos/found/a.jpg"
        )
    for given in ("found", "found/*", "found/a.jpg"):
        assert names(tmp_path, tmp_path / "photos" / given, is_own=is_own) == ["photos/found/a.jpg"]


def test_pictures_that_cannot_be_read_are_counted_in_one_line(tmp_path, caplog):
    touch(*(tmp_path / name for name in ("a.jpg", "b.CR2", "c.cr2", "d.psd", "notes.txt")))
    assert names(tmp_path, tmp_path) == ["a.jpg"]
    assert [r.getMessage().partition(": ")[2] for r in caplog.records] == [
        "left out, in formats that cannot be read: 2 .cr2, 1 .psd; convert them to JPEG or PNG"
    ]


def test_places_differ_in_more_than_case_and_suffix(tmp_path):
    touch(*(tmp_path / p for p in ("x/a.jpg", "y/A.JPG", "z/a.tif")))
    places = [s.place.as_posix() for s in media.find([str(tmp_path / d) for d in "xyz"])]
    assert places == ["a.jpg", "A-2.JPG", "a-3.tif"]
