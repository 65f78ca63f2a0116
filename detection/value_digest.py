"""A digest of the values in a JSON file, beside them, so that damage which can still be read is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGEST = "digest"


def with_digest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what JSON can hold, with the SHA-256 of all values, whatever their order and layout."""
    return {**values, DIGEST: digest_of(json.loads(json.dumps(values)))}  # of the values as they will be read


def check_digest(values: Mapping[str, Any]) -> None:
    """Check that values are those that were written; older files state no digest and are taken as they are.

    Raises:
        ValueError: they are not.
    """
    if DIGEST in values and values[DIGEST] != digest_of(values):
        raise ValueError(f"its values do not match its {DIGEST}; if you changed one yourself, delete the {DIGEST}")


def digest_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of values of JSON in hexadecimal, apart from their own digest."""
    others = {name: value for name, value in values.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(others, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
