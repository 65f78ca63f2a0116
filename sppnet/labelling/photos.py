"""Photos of tasks, fetched from Label Studio and from no other host unless one is allowed."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from detection.files import parse_json
from sppnet.errors import one_line
from sppnet.server.uploads import UploadLimits

SECONDS = 20  # to connect, and between two parts of an answer
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
LOCAL = ("localhost", "127.0.0.1", "::1")
LARGEST_ANSWER = 500_000_000  # bytes of an answer of Label Studio's API
PORTS = {"http": 80, "https": 443}


class NotFetched(ValueError):
    """A photo or an answer that cannot be fetched; one line says why."""


class LabelStudio:
    """A Label Studio and the hosts that its photos may come from.

    Args:
        address: of Label Studio, "http://localhost:8080".
        token: of a user, an access token or a personal one; it is sent to Label Studio only.
        limits: largest photo.
        hosts: further hosts that photos may be fetched from, each a name, or a name and a port.

    Raises:
        ValueError: the address is not of http or https.
    """

    def __init__(self, address: str, token: str, limits: UploadLimits, hosts: Collection[str] = ()) -> None:
        self.address, self.token, self.limits, self.hosts = address.rstrip("/"), token, limits, frozenset(hosts)
        self._origin = origin(self.address)
        self._access = ""  # of a personal token

    def fetch_photo(self, url: str) -> bytes:
        """Return the bytes of a photo.

        Args:
            url: of http or https, or a path that begins with /, on Label Studio's host.

        Raises:
            NotFetched: the host is not allowed, or gives no photo of at most the largest size.
        """
        if not url.startswith(("/", "http://", "https://")):
            kind = url.partition(":")[0][:20]
            raise NotFetched(f"{url[:100]}: only http addresses and uploaded photos can be fetched, not {kind}")
        return self._fetch(self._join(url), self.limits.file_bytes)

    def ask(self, path: str) -> Any:
        """Return the JSON answer of Label Studio's API to a GET request.

        Raises:
            NotFetched: there is no such answer.
        """
        try:
            return parse_json(self._fetch(self._join(path), LARGEST_ANSWER))
        except ValueError as error:
            raise error if isinstance(error, NotFetched) else NotFetched(f"{path}: {one_line(error)}") from None

    def _join(self, url: str) -> str:
        """Return a full address; Label Studio may be in a folder of its host, which paths may begin with or not."""
        if not url.startswith("/") or url.startswith("//"):
            return urljoin(self.address, url)
        folder = urlsplit(self.address).path
        inside = folder and (url == folder or url.startswith(f"{folder}/"))
        return urljoin(self.address, url) if inside else self.address + url

    def _fetch(self, url: str, most: int) -> bytes:
        """Fetch an address, following redirects to allowed hosts; a token that has expired is renewed once."""
        for renewed in (False, True):
            try:
                return self._follow(url, most)
            except _Status as status:
                if status.code != 401 or renewed or not self._personal:
                    raise NotFetched(f"{url}: {self._why(status.code, url)}") from None
                self._access = ""
            except (OSError, HTTPException, ValueError) as error:
                raise error if isinstance(error, NotFetched) else NotFetched(f"{url}: {one_line(error)}") from None
        raise AssertionError("the second attempt returns or raises")

    def _why(self, code: int, url: str) -> str:
        if code == 401 and origin(url) == self._origin:
            return (
                "Label Studio does not accept the token (401); allow legacy tokens in its organization settings, or "
                "set LABEL_STUDIO_API_KEY to a personal access token"
            )
        return f"HTTP status {code}"

    def _follow(self, url: str, most: int) -> bytes:
        for _ in range(MOST_REDIRECTS):
            self._check(url)
            try:
                with _open(url, self._headers(url)) as answer:
                    data: bytes = answer.read(most + 1)
            except _Status as status:
                if status.code not in REDIRECTS:
                    raise
                url = urljoin(url, status.location)
                continue
            if len(data) > most:
                raise NotFetched(f"{url}: more than {most // 1_000_000} MB; --max-megabytes allows more")
            return data
        raise NotFetched(f"{url}: more than {MOST_REDIRECTS} redirects")

    def _check(self, url: str) -> None:
        found = origin(url)
        if found == self._origin or found[1] in self.hosts or f"{found[1]}:{found[2]}" in self.hosts:
            return
        raise NotFetched(
            f"{url[:200]}: host {found[1]} is not Label Studio's ({self._origin[1]}:{self._origin[2]}); "
            f"--photo-hosts {found[1]} allows it"
        )

    @property
    def _personal(self) -> bool:
        """Whether the token is a personal one, from which access tokens of some minutes are made."""
        return self.token.count(".") == 2

    def _headers(self, url: str) -> Mapping[str, str]:
        if not self.token or origin(url) != self._origin:
            return {}
        if not self._personal:
            return {"Authorization": f"Token {self.token}"}
        if not self._access:
            data = json.dumps({"refresh": self.token}).encode()
            with _open(f"{self.address}/api/token/refresh/", {"Content-Type": "application/json"}, data) as answer:
                self._access = str(parse_json(answer.read())["access"])
        return {"Authorization": f"Bearer {self._access}"}


def origin(address: str) -> tuple[str, str, int]:
    """Return scheme, host name and port of an address.

    Raises:
        ValueError: it is not an address of http or https.
    """
    parts: SplitResult = urlsplit(address)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{address[:200]!r}: expected an address such as http://localhost:8080")
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]


def is_local(address: str) -> bool:
    """Whether an address is of this machine."""
    return origin(address)[1] in LOCAL


class _Status(Exception):
    """An answer that is not the wanted one.

    Args:
        code: HTTP status.
        location: where a redirect leads.
    """

    def __init__(self, code: int, location: str) -> None:
        super().__init__(code)
        self.code, self.location = code, location


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the caller, who checks where they lead: they raise HTTPError."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def _open(url: str, headers: Mapping[str, str], data: bytes | None = None) -> Any:
    request = urllib.request.Request(url, data, dict(headers))
    try:
        return _opener.open(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise _Status(error.code, error.headers.get("location", "")) from None
