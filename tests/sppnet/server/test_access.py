"""Access control: host names, pages of other sites, what the pages may load."""

import re

import pytest

from tests.sppnet.server.helpers import site


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", "localhost@evil"])
def test_a_foreign_host_name_is_refused(host, client):
    for path in ("/", "/models", "/docs"):
        reply = client.get(path, headers={"host": host})
        assert reply.status_code == 403
        assert "expected 127.0.0.1 or localhost" in reply.json()["detail"]


def test_its_own_names_are_accepted_and_any_name_on_a_public_address(client, slow):
    for host in ("localhost", "LOCALHOST:1234", "127.0.0.1:99"):
        assert client.get("/health", headers={"host": host}).status_code == 200
    with site(slow.queue, hosts=()) as open_client:
        assert open_client.get("/health", headers={"host": "camera.example"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_cannot_send_photos(headers, client, photo):
    reply = client.post("/detect", files={"photo": photo.read_bytes()}, headers=headers)
    expected = {"detail": "requests from pages of other sites are not allowed"}
    assert (reply.status_code, reply.json()) == (403, expected)
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    ("path", "kind"), [("/page.js", "javascript"), ("/api.js", "javascript"), ("/page.css", "css"), ("/api.css", "css")]
)
def test_scripts_and_styles_are_files_of_the_server(path, kind, client):
    reply = client.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (200, f"text/{kind}; charset=utf-8")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_may_contact_this_server_only(path, client):
    reply = client.get(path)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'; style-src 'self';" in policy
    assert not re.search("unsafe|sha256|nonce|https?:|[*]", policy)
    assert re.search(r"<style|<script>|\son\w+=|\sstyle=", reply.text) is None
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert [a for a in re.findall(r"https?://[^\s'\"]+", reply.text) if a != "http://www.w3.org/2000/svg"] == []
