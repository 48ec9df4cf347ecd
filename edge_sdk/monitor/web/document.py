"""Requests and answers: JSON by msgspec, described in the OpenAPI document by the same types."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute

from edge_sdk.base.clock import from_datetime

MAX_NS = (1 << 63) - 1
MAX_ROWS = 10_000

COMMON = {
    "401": "Log in, or send an API key.",
    "403": "Your role may not do this, or the request does not come from the page itself.",
    "422": "The request cannot be understood; the answer says why.",
    "429": "Too many requests.",
    "503": "The store is out of reach.",
}
"""What any request may be answered."""

Moment = Annotated[str, Query(description="Event time: ISO 8601 with zone, or nanoseconds since the Unix epoch")]
Points = Annotated[int, Query(ge=1, le=2000)]
Rows = Annotated[int, Query(ge=1, le=MAX_ROWS)]

_REF = "#/components/schemas/{name}"
_T = TypeVar("_T")
_described: dict[str, Any] = {}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong.

    Attributes:
        detail: For a person.
    """

    detail: str


def json_of(value: object, *, status: int = 200) -> Response:
    """An answer."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def read(body: bytes, kind: type[_T]) -> _T:
    """A request's body as `kind`; 422 when it is not."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(422, f"The request cannot be read: {error}.") from error


def only_known(request: Request) -> None:
    """Refuse query parameters that a path does not know, or that are given twice: none is passed over in silence."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or not route.include_in_schema:  # the page's own addresses
        return
    known = sorted(one.alias for one in route.dependant.query_params)
    wrong = [
        f"{name[:64]}: this path does not know it; it knows {', '.join(known) or 'no parameter'}."
        if name not in known
        else f"{name}: it is given {times} times; wanted is once."
        for name, times in Counter(name for name, _ in request.query_params.multi_items()).items()
        if name not in known or times > 1
    ]
    if wrong:
        raise HTTPException(422, " ".join(wrong))


def span(since: str, until: str) -> tuple[int, int]:
    """A range of event time, in nanoseconds since the Unix epoch; 422 when it is none."""
    since_ns, until_ns = _time_ns("since", since), _time_ns("until", until)
    if until_ns <= since_ns:
        raise HTTPException(422, f"until is {until[:64]!r}; wanted is a moment after since, {since[:64]!r}.")
    return since_ns, until_ns


def open_span(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """The same, where either end may be left open."""
    if since is not None and until is not None:
        return span(since, until)
    return (
        None if since is None else _time_ns("since", since),
        None if until is None else _time_ns("until", until),
    )


def _time_ns(name: str, text: str) -> int:
    try:
        iso = f"{text[:-1]}+00:00" if text.endswith("Z") else text  # Python 3.10 does not know the Z
        found = int(text) if text.isdecimal() else from_datetime(datetime.fromisoformat(iso))
    except (ValueError, TypeError, OverflowError):
        found = -1
    if not 0 <= found <= MAX_NS:
        raise HTTPException(422, f"{name} is {text[:64]!r}; wanted is ISO 8601 with a zone, or nanoseconds.")
    return found


def answers(kind: Any, *, missing: bool = False, also: dict[int, str] | None = None) -> dict[int | str, dict[str, Any]]:
    """The description of an answer, from the type that it is made of."""
    told: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": _schema(kind)}}}}
    if missing:
        told[404] = {"description": "Never heard of.", "content": {"application/json": {"schema": _schema(Problem)}}}
    told.update({status: {"description": about} for status, about in (also or {}).items()})
    return told


def body_of(kind: Any) -> dict[str, Any]:
    """The description of what a request must hold."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _schema(kind)}}}}


def _schema(kind: Any) -> Any:
    (schema,), parts = msgspec.json.schema_components((kind,), ref_template=_REF)
    _described.update(parts)
    return schema


def describe(app: FastAPI) -> None:
    """Put the types that answers and requests are made of into the OpenAPI document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        problem = {"content": {"application/json": {"schema": _schema(Problem)}}}
        for operations in document["paths"].values():
            for operation in operations.values():
                for status, about in COMMON.items():
                    if status == "422" or status not in operation["responses"]:
                        operation["responses"][status] = {"description": about, **problem}
        for name in ("HTTPValidationError", "ValidationError"):
            document.get("components", {}).get("schemas", {}).pop(name, None)
        document.setdefault("components", {}).setdefault("schemas", {}).update(_described)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
