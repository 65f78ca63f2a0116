import cv2
import numpy as np
import pytest

from detection.pictures.video import VideoReader, VideoWriter

SIZE = (32, 48)  # (H, W)


def grey(value):
    return np.full((*SIZE, 3), value, np.uint8)


def write_frame_then_fail(writer):
    writer.write(grey(0))
    raise ValueError("the second frame is not uint8")


def test_written_frames_are_read_back_on_every_iteration(tmp_path):
    path = tmp_path / "below" / "video.mp4"
    with VideoWriter(path, 5) as writer:
        for value in (50, 100, 200):
            writer.write(grey(value))
    video = VideoReader(path)
    assert (video.count, video.rate) == (3, 5)
    for _ in range(2):
        frames = list(video)
        assert [f.shape for f in frames] == [(*SIZE, 3)] * 3
        np.testing.assert_allclose([f.mean() for f in frames], [50, 100, 200], atol=5)


@pytest.mark.parametrize(
    ("rate", "nearest"),
    [
        (25, 25),
        (29.97002997, 29.97),
        (23.976023976, 23.976),
        (211.222, 211.22),
        (999.999, 1000),
        (1e6, 65_535),
        (0.0333, 0.033),
    ],
)
def test_a_film_has_the_nearest_rate_that_its_format_can_state(rate, nearest, tmp_path):
    with VideoWriter(tmp_path / "video.mp4", rate) as writer:
        for value in (50, 100, 200):
            writer.write(grey(value))
    video = VideoReader(tmp_path / "video.mp4")
    assert video.rate == pytest.approx(nearest)
    assert len(list(video)) == 3


def test_a_red_frame_is_read_back_as_red(tmp_path):
    with VideoWriter(tmp_path / "video.mp4", 5) as writer:
        writer.write(np.tile(np.uint8([200, 0, 0]), (*SIZE, 1)))
    red, _, blue = next(iter(VideoReader(tmp_path / "video.mp4"))).mean(axis=(0, 1))
    assert red > 150 > 50 > blue


def test_a_failed_video_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="uint8"), VideoWriter(tmp_path / "video.mp4", 5) as writer:
        write_frame_then_fail(writer)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_created_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), VideoWriter(tmp_path / "file" / "video.mp4", 5) as writer:
        writer.write(grey(0))


def test_files_without_frames_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        VideoReader(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(ValueError, match=r"text\.mp4: not a video"):
        VideoReader(tmp_path / "text.mp4")
    writer = cv2.VideoWriter(str(tmp_path / "empty.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, SIZE[::-1])
    writer.release()
    with pytest.raises(ValueError, match=r"empty\.avi"):
        list(VideoReader(tmp_path / "empty.avi"))


@pytest.mark.parametrize(
    "text",
    ["ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\n#EXTINF:1,\nother.mp4\n", "v=0\nm=video 9 RTP\n"],
)
def test_a_list_of_other_files_is_no_video(tmp_path, text):
    with VideoWriter(tmp_path / "other.mp4", 5) as writer:
        writer.write(grey(50))
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(ValueError, match=r"list\.mp4: not a video"):
        VideoReader(tmp_path / "list.mp4")
    assert len(list(VideoReader(tmp_path / "other.mp4"))) == 1


@pytest.mark.parametrize(("suffix", "code"), [("avi", "MJPG"), ("mkv", "mp4v"), ("mov", "mp4v"), ("m4v", "mp4v")])
def test_other_containers_are_read(tmp_path, suffix, code):
    path = tmp_path / f"video.{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 5, SIZE[::-1])
    writer.write(grey(50))
    writer.release()
    assert len(list(VideoReader(path))) == 1
