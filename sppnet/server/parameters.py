"""Parameters of requests: every name is known and given once, in the address or in the form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from fastapi import Request

from sppnet.server.errors import RequestRefused
from sppnet.settings.base import suggestion

T = TypeVar("T")


async def known_names(request: Request) -> None:
    """Check the names of a request's parameters against those that its route declares.

    Raises:
        RequestRefused: a name is unknown (the message has the nearest one), or given more than once.
    """
    declared = request.scope["route"].dependant
    _check("query parameter", request.query_params.multi_items(), [p.alias for p in declared.query_params])
    if declared.body_params:
        fields = (await request.form()).multi_items()
        _check("form field", fields, [p.alias for p in declared.body_params])


def _check(kind: str, given: Iterable[tuple[str, object]], known: list[str]) -> None:
    for name, count in Counter(name for name, _ in given).items():
        if name not in known:
            hint = suggestion(name, known) if known else "; expected none"
            raise RequestRefused(422, f"unknown {kind} {name!r}{hint}")
        if count > 1:
            raise RequestRefused(422, f"{name}: given {count} times; send one {name} per request")


def agreed(name: str, query: T | None, form: T | None) -> T | None:
    """Return the value of a parameter that may be in the address, in the form, or in neither.

    Args:
        name: of the parameter.
        query: its value in the address; None: it is not there.
        form: its value in the form; None: it is not there.

    Raises:
        RequestRefused: the two differ.
    """
    if query is not None and form is not None and query != form:
        raise RequestRefused(422, f"{name}: {query!r} in the address, but {form!r} in the form; give one of them")
    return form if query is None else query
