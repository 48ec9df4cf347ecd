"""Requests and answers: JSON by msgspec, described in the OpenAPI document by the same types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import FastAPI, HTTPException, Query, Response

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

Moment = Annotated[str | None, Query(description="Event time: ISO 8601 with zone, or nanoseconds")]
Nanoseconds = Annotated[int, Query(ge=0, le=MAX_NS)]
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


def time_ns(name: str, text: str | None) -> int | None:
    """A moment as nanoseconds since the Unix epoch; 422 when it is none."""
    if text is None:
        return None
    try:
        found = int(text) if text.isdecimal() else from_datetime(datetime.fromisoformat(text))
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
