"""Fetching photos: with the token, from Label Studio alone, of limited size."""

import pytest

from sppnet.labelling.photos import LabelStudio, NotFetched, is_local, origin
from tests.sppnet.labelling.helpers import ACCESS, LIMITS, PERSONAL, TOKEN, StandIn


def asks(studio, token=TOKEN, hosts=(), address=None):
    return LabelStudio(address or studio.address, token, LIMITS, hosts)


def refused(source, url):
    with pytest.raises(NotFetched) as caught:
        source.fetch_photo(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_photos_come_with_the_token(studio, records):
    name, content = f"{records[0].id}.jpg", records[0].path.read_bytes()
    for path in (f"/data/upload/7/{name}", f"/data/local-files/?d=photos/{name}", f"{studio.address}/data/{name}"):
        assert asks(studio).fetch_photo(path) == content
    assert {authorization for _, authorization in studio.requests} == {f"Token {TOKEN}"}


def test_other_hosts_are_refused_unless_they_are_allowed(studio, records, classes):
    with StandIn(records, classes) as other:
        other.tokens = {""}
        url = f"{other.address}/{records[0].id}.jpg"
        port = other.address.rpartition(":")[2]
        assert f"127.0.0.1 is not Label Studio's (127.0.0.1:{studio.address.rpartition(':')[2]})" in refused(
            asks(studio), url
        )
        assert "--photo-hosts 127.0.0.1 allows it" in refused(asks(studio, hosts=["127.0.0.1:1"]), url)
        assert not other.requests
        for host in ("127.0.0.1", f"127.0.0.1:{port}"):
            assert asks(studio, hosts=[host]).fetch_photo(url) == records[0].path.read_bytes()
        assert {authorization for _, authorization in other.requests} == {""}  # the token is not for others


def test_redirects_lead_to_no_other_host(studio, records, classes):
    with StandIn(records, classes) as other:
        other.tokens = {""}
        photo = f"{other.address}/{records[0].id}.jpg"
        studio.answers["/tasks/1/resolve/"] = (302, {"location": photo}, b"")
        assert "is not Label Studio's" in refused(asks(studio), "/tasks/1/resolve/")
        assert asks(studio, hosts=["127.0.0.1"]).fetch_photo("/tasks/1/resolve/") == records[0].path.read_bytes()
    studio.answers["/a"] = (307, {"location": f"/data/{records[0].id}.jpg"}, b"")
    assert asks(studio).fetch_photo("/a") == records[0].path.read_bytes()
    studio.answers["/loop"] = (302, {"location": "/loop"}, b"")
    assert "more than 5 redirects" in refused(asks(studio), "/loop")
    studio.answers["/file"] = (302, {"location": "file:///etc/passwd"}, b"")
    assert "expected an address such as http" in refused(asks(studio), "/file")


@pytest.mark.parametrize("url", ["s3://bucket/a.jpg", "file:///etc/passwd", "gs://b/a.jpg", "a.jpg", "ftp://h/a.jpg"])
def test_only_http_is_fetched(studio, url):
    assert "only http addresses" in refused(asks(studio), url)
    assert not studio.requests


def test_an_address_that_looks_like_a_path_is_no_way_out(studio):
    assert "host evil.example is not" in refused(asks(studio), "//evil.example/a.jpg")
    assert "host evil.example is not" in refused(asks(studio), f"http://{studio.address[7:]}@evil.example/a.jpg")


def test_photos_that_are_missing_or_too_large_are_refused(studio):
    assert "HTTP status 404" in refused(asks(studio), "/data/nothing.jpg")
    studio.answers["/big"] = (200, {}, b"x" * 1_000_001)
    assert "more than 1 MB; --max-megabytes allows more" in refused(asks(studio), "/big")
    gone = asks(studio, address="http://127.0.0.1:9")
    assert "refused" in refused(gone, "/data/a.jpg")


def test_a_token_that_is_not_accepted_is_explained(studio):
    assert "set LABEL_STUDIO_API_KEY to a personal access token" in refused(asks(studio, token="wrong"), "/data/a.jpg")


def test_a_personal_token_is_exchanged_and_renewed(studio, records):
    source, path = asks(studio, token=PERSONAL), f"/data/{records[0].id}.jpg"
    assert source.fetch_photo(path) == source.fetch_photo(path) == records[0].path.read_bytes()
    assert [p for p, _ in studio.requests] == ["/api/token/refresh/", path, path]
    source._access = "expired"
    assert source.fetch_photo(path) == records[0].path.read_bytes()
    assert studio.requests[-1][1] == f"Bearer {ACCESS}"
    studio.tokens.clear()
    assert "does not accept the token" in refused(source, path)


def test_label_studio_may_be_in_a_folder_of_its_host(studio, records):
    source = asks(studio, address=f"{studio.address}/labels/")
    studio.answers["/labels/data/a.jpg"] = (200, {}, b"photo")
    assert source.fetch_photo("/data/a.jpg") == source.fetch_photo("/labels/data/a.jpg") == b"photo"


def test_answers_of_the_api_are_json(studio):
    studio.answers["/api/a"] = (200, {}, b'[{"id": 1}]')
    studio.answers["/api/b"] = (200, {}, b"<html>")
    assert asks(studio).ask("/api/a") == [{"id": 1}]
    with pytest.raises(NotFetched, match="/api/b: "):
        asks(studio).ask("/api/b")


def test_origins():
    assert origin("https://labels.example/x") == ("https", "labels.example", 443)
    assert is_local("http://localhost:8080")
    assert is_local("http://[::1]:8080")
    assert not is_local("http://localhost.evil.example")
    for wrong in ("", "localhost:8080", "ftp://a", "http://"):
        with pytest.raises(ValueError, match="expected an address such as"):
            origin(wrong)
