"""Writes the reference pages that are made from the types: ``python docs/reference/generate.py [--check]``.

``configuration.md`` from the configuration's structs, ``messages.md`` from the types on the wire, ``errors.md`` from
the error tree, ``manifest.md`` from the manifest. With ``--check`` nothing is written; the exit code is 1
where a page is not fresh.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec

from converters.recipe import Recipe
from edge_sdk.base import errors, plugins
from edge_sdk.base.clock import ClockState
from edge_sdk.config.station import StationConfig
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_pack, encode_result
from edge_sdk.contract.events import (
    Birth,
    Health,
    ModelInUse,
    Severity,
    StationEvent,
    StationState,
    Status,
    encode_event,
)
from edge_sdk.contract.manifest import Manifest
from edge_sdk.contract.prediction import ContributorState
from edge_sdk.contract.receipt import Receipt, encode_receipt
from edge_sdk.contract.result import Contributor, FusedResult
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.monitor.config import MonitorConfig
from edge_sdk.station.herald import EVENTS

HERE = Path(__file__).parent
NOTICE = "<!-- Written by docs/reference/generate.py from the types: change those, and run it again. -->"


# --- configuration -------------------------------------------------------------------------------------------------


def configuration() -> str:
    """The fields of ``station.yaml``, ``monitor.yaml`` and ``recipe.yaml``."""
    parts = [
        "# Configuration",
        NOTICE,
        "An unknown or repeated field is an error with file, line, column and the nearest name. Relative paths are "
        "relative to the file. Passwords and keys are paths to files. A field without a default must be given.",
    ]
    for title, kind in (
        ("station.yaml", StationConfig),
        ("monitor.yaml", MonitorConfig),
        ("recipe.yaml", Recipe),
    ):
        parts += [f"## {title}", *_struct(kind, "")]
    parts.append(
        "# Options of the plug-ins\n\nWhat stands under `options` of a sensor, a step of preprocessing, a fuser."
    )
    for group in ("edge_sdk.sensors", "edge_sdk.preprocess", "edge_sdk.fusers"):
        for name in plugins.found(group):
            kind = plugins.load(group, name)
            said = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
            parts += [f"## {group.rpartition('.')[2]}: {name}", re.sub(r"``?", "`", said), *_struct(kind.Options, "")]
    return "\n\n".join(parts) + "\n"


def _struct(kind: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    """The table of a struct, then the tables of the structs in it."""
    told = _attributes(kind)
    below: list[tuple[str, type[msgspec.Struct]]] = []
    info: Any = msgspec.inspect.type_info(kind)
    if not info.fields:
        yield "No options."
        return
    rows = ["| Field | Type | Default | What |", "|---|---|---|---|"]
    for field in info.fields:
        shown, described, nested = _type(field.type)
        default = _default(field)
        what = described or told.get(field.encode_name, "")
        rows.append(f"| `{prefix}{field.encode_name}` | {shown} | {default} | {what} |")
        if nested is not None:
            deeper = "." if isinstance(_bare(field.type), msgspec.inspect.StructType) else _step(field.type)
            below.append((f"{prefix}{field.encode_name}{deeper}", nested))
    yield "\n".join(rows)
    for name, struct in below:
        yield f"### {name.rstrip('.')}"
        yield re.sub(r"``?", "`", " ".join((struct.__doc__ or "").split("\n\n")[0].split()))
        yield from _struct(struct, name)


def _step(info: Any) -> str:
    return ".NAME." if isinstance(_bare(info), msgspec.inspect.DictType) else "[]."


def _bare(info: Any) -> Any:
    """Without metadata and without ``| None``."""
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.UnionType):
        kinds = [_bare(one) for one in info.types if not isinstance(one, msgspec.inspect.NoneType)]
        info = next((one for one in kinds if isinstance(one, msgspec.inspect.StructType)), kinds[0])
    return info


def _type(info: Any) -> tuple[str, str, type[msgspec.Struct] | None]:
    """(words for a person, description, the struct inside)."""
    description = ""
    while isinstance(info, msgspec.inspect.Metadata):
        description = (info.extra_json_schema or {}).get("description", description)
        info = info.type
    if isinstance(info, msgspec.inspect.UnionType):
        words = [_type(one)[0] for one in info.types if not isinstance(one, msgspec.inspect.NoneType)]
        return " or ".join(words), description or _described(info), _type(_bare(info))[2]
    match info:
        case msgspec.inspect.StructType():
            return "section", description, info.cls
        case msgspec.inspect.DictType(value_type=value):
            words, _, nested = _type(value)
            return ("sections by name" if nested else f"names to {words}"), description, nested
        case msgspec.inspect.VarTupleType(item_type=item):
            words, _, nested = _type(item)
            return f"list of {'sections' if words == 'section' else words}", description, nested
        case msgspec.inspect.TupleType(item_types=items):
            return f"list of {len(items)}: {', '.join(_type(item)[0] for item in items)}", description, None
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in values), description, None
        case msgspec.inspect.CustomType(cls=cls) if cls is Path:
            return "path", description, None
        case msgspec.inspect.FloatType():
            return f"number{_bounds(info)}", description, None
        case msgspec.inspect.IntType():
            return f"whole number{_bounds(info)}", description, None
        case msgspec.inspect.BoolType():
            return "true or false", description, None
        case msgspec.inspect.StrType(pattern=str()):
            return "id", description, None
        case msgspec.inspect.StrType():
            return "text", description, None
    return "anything", description, None


def _described(info: Any) -> str:
    return next((found for one in info.types if (found := _type(one)[1])), "")


def _bounds(info: Any) -> str:
    words = [
        f"{sign} {limit:g}"
        for sign, limit in ((">", info.gt), ("≥", info.ge), ("<", info.lt), ("≤", info.le))
        if limit is not None
    ]
    return f" {', '.join(words)}" if words else ""


def _default(field: Any) -> str:
    if field.required:
        return "must be given"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    if value is None or value in ((), {}, ""):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _attributes(kind: type) -> dict[str, str]:
    """What the docstring's ``Attributes:`` say, by name."""
    _, _, section = inspect.getdoc(kind).partition("Attributes:\n")  # type: ignore[union-attr]
    found, name = {}, ""
    for line in section.splitlines():
        if entry := re.match(r"    (\w+): (.*)", line):
            name = entry[1]
            found[name] = entry[2]
        elif name and line.startswith("        "):
            found[name] += " " + line.strip()
        elif line.strip() == "":
            name = ""
    return {key: re.sub(r"``?", "`", text).replace("|", "\\|") for key, text in found.items()}


# --- messages ------------------------------------------------------------------------------------------------------

_T = datetime(2026, 11, 21, 2, 17, 0, tzinfo=timezone.utc)
_EPOCH = "9f3c5a1be07d2466"
_TOPICS = Topics("hall", "press-4")


def _result(seq: int, **changes: Any) -> FusedResult:
    t = _T + timedelta(seconds=seq - 1234)
    fresh = Contributor(
        model="accelerometer",
        bundle="sha256:52d1…",
        state=ContributorState.FRESH,
        age_ms=0,
        weight=1.0,
        label="shaking",
        confidence=0.88,
    )
    lost = Contributor(
        model="gyroscope",
        bundle="sha256:8e07…",
        state=ContributorState.ABSENT,
        reason="nothing_came",
    )
    result = FusedResult(
        stream="movement",
        t=t,
        observed=t + timedelta(milliseconds=12),
        clock=ClockState.SYNCED,
        method="log_opinion_pool",
        degraded=True,
        contributors=(fresh, lost),
        absent=("gyroscope",),
        label="shaking",
        confidence=0.88,
        probabilities={"still": 0.09, "shaking": 0.88, "turning": 0.03},
    )
    return msgspec.structs.replace(result, **changes)


def _row(seq: int, **changes: Any) -> OutboxRow:
    return OutboxRow(seq, "movement", encode_body(_result(seq, **changes)), 0)


def messages() -> str:
    """Topics, and the JSON of each message."""
    nothing = msgspec.UNSET
    regression = _row(
        77,
        stream="level",
        label=nothing,
        confidence=nothing,
        probabilities=nothing,
        contributors=(),
        absent=(),
        degraded=False,
        value=3.42,
        unit="m",
        std=0.05,
    )
    model = ModelInUse(
        name="accelerometer",
        bundle="sha256:52d1…",
        variant="int8.tflite",
        runtime="litert 2.3.0",
        delegates=("xnnpack",),
        labels=("still", "shaking", "turning"),
    )
    birth = Birth(
        site="hall",
        station="press-4",
        epoch=_EPOCH,
        oldest=1180,
        version="0.1.0",
        board="Raspberry Pi 5 Model B Rev 1.0",
        streams=("movement",),
        models=(model,),
        started=_T,
    )
    health = Health(
        station="press-4",
        t=_T,
        outbox_rows=54,
        outbox_bytes=1_208_320,
        epoch=_EPOCH,
        oldest=1180,
        counters={"results.accepted": 1234, "outbox.dropped": 0},
        sensors={"accelerometer": "running", "gyroscope": "lost"},
        temperature_c=51.2,
        rss_bytes=61_341_696,
    )
    event = StationEvent(
        station="press-4",
        t=_T,
        severity=Severity.WARNING,
        name="sensor.lost",
        message="Sensor gyroscope is lost. No answer on the bus.",
        detail={"sensor": "gyroscope"},
    )
    status = Status(station="press-4", state=StationState.ONLINE, epoch=_EPOCH)
    receipt = Receipt(v=1, epoch=_EPOCH, stored=((1, 1179), (1200, 1234)))
    where: Any = {"station": "press-4", "epoch": _EPOCH}
    old = _row(1180, contributors=(), absent=(), degraded=False)
    told = [
        (Kind.RESULT, ("movement",), "ResultMessage", encode_result(_row(1234), **where), _RESULT),
        (Kind.RESULT, ("level",), "ResultMessage", encode_result(regression, **where), _REGRESSION),
        (Kind.PACK, (), "Pack", encode_pack([old], gone=[(1175, 1179)], **where), _PACK),
        (Kind.BIRTH, (), "Birth", encode_event(birth), _BIRTH),
        (Kind.STATUS, (), "Status", encode_event(status), _STATUS),
        (Kind.HEALTH, (), "Health", encode_event(health), _HEALTH),
        (Kind.EVENT, ("warning",), "StationEvent", encode_event(event), _EVENT),
        (Kind.RECEIPT, (), "Receipt", encode_receipt(receipt), _RECEIPT),
    ]
    parts = ["# Topics and messages", NOTICE, _INTRODUCTION]
    for kind, rest, name, payload, words in told:
        title = "result, of a regression" if words is _REGRESSION else kind.value
        shown = msgspec.json.format(payload, indent=2).decode()
        topic = f"`{_TOPICS.of(kind, *rest)}`"
        parts += [f"## {title}", f"{topic}. {words}", f"<!-- is: {name} -->\n```json\n{shown}\n```"]
    parts += ["## Fields", *_fields(FusedResult, Contributor, Birth, ModelInUse, Health, StationEvent, Receipt)]
    return "\n\n".join(parts) + "\n"


def _fields(*kinds: type[msgspec.Struct]) -> Iterator[str]:
    for kind in kinds:
        rows = [f"| {kind.__name__} | |", "|---|---|"]
        rows += [f"| `{name}` | {text} |" for name, text in _attributes(kind).items()]
        yield "\n".join(rows)


_INTRODUCTION = """\
MQTT 5, QoS 1, JSON in UTF-8. A topic is `edge/v1/<site>/<station>/<kind>` and perhaps a segment more; a segment is an
id of 1 to 64 letters, digits, `_` and `-`. Times are UTC. Ignore fields that you do not know; a change that would break
a reader gets another `v`. `cmd` and `ack` are reserved for commands, which no station takes yet.

| Topic | Retained | Who says it, when |
|---|---|---|
| `result/<stream>` | no | the station, for each live result, at once |
| `pack` | no | the station, for results that waited, or that nobody confirmed |
| `birth` | yes | the station, on each connection |
| `status` | yes | the station: `online`, `stopping`; `offline` by the broker, as last will |
| `health` | no | the station, every `health_every_s` |
| `event/<severity>` | no | the station, when something happened: `info`, `warning`, `error` |
| `receipt` | yes | the monitor, after its commit |"""
_RESULT = """\
A fused result. `(station, epoch, seq)` names it for ever; what comes twice has the same. Probabilities are rounded to
four decimals. A contributor that did not count says why in `state` and `reason`."""
_REGRESSION = "The same with `value`, `unit`, and `std` or `interval` where the fuser states them."
_PACK = "Many results in one message, oldest first; station, epoch and `backlog` stand once."
_BIRTH = """\
Who the station is and what *really* runs on it, read back after opening. `fallback` says what was asked for and is not
in use. Below `oldest`, what is not stored was given up and will never come."""
_STATUS = "Retained. `offline` carries the epoch of the connection that was lost."
_HEALTH = "Numbers of the moment; the [counters](counters.md) count since the start of the process."
_EVENT = "Something that happened; its severity is also the last segment of the topic."
_RECEIPT = """\
What the monitor has stored of this epoch: inclusive ranges of `seq`, rising, never touching. Here 1180 to 1199 are
missing; the station sends them again. Only rows that a receipt names leave the outbox."""


# --- errors --------------------------------------------------------------------------------------------------------


def error_tree() -> str:
    """The tree of the docstring, and exit codes of the classes."""
    doc = inspect.getdoc(errors) or ""
    tree = "\n".join(line[4:] for line in doc.splitlines() if line.startswith("    "))
    codes: dict[int, list[str]] = {}
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.EdgeError):
            codes.setdefault(kind.exit_code, []).append(name)
    rows = [f"| {code} | {_EXIT.get(code, '')} | {', '.join(sorted(names))} |" for code, names in sorted(codes.items())]
    return (
        "\n\n".join(
            [
                "# Errors and exit codes",
                NOTICE,
                _ERRORS,
                f"```text\n{tree}\n```",
                "## Exit codes",
                "After `sysexits.h`, so that systemd can tell what is worth a restart. 0 is success, 2 a wrong option, "
                "130 an interrupt, 70 a fault in Edge SDK or a plug-in: then a traceback says where.",
                "\n".join(["| Code | Meaning | Errors |", "|---|---|---|", *rows]),
            ]
        )
        + "\n"
    )


_ERRORS = """\
Every error that is raised on purpose is an `EdgeError`. There is a class for each *decision a caller can take*; many
are also a builtin, where people already catch one. The message says what was given, what was wanted and the next step.
`retriable` says whether the same call may succeed later without anybody mending anything."""
_EXIT = {
    1: "failed otherwise",
    65: "the data is wrong: a bundle, a model, calibration data",
    69: "something that is needed is not here: an extra, a delegate, a sensor, the broker",
    74: "the disk",
    77: "not trusted",
    78: "the configuration is wrong",
}


def manifest() -> str:
    """The fields of ``manifest.json``."""
    words = "The fields of `manifest.json` in a [bundle](bundle.md), format 1. An unknown field is refused."
    return "\n\n".join(["# Manifest", NOTICE, words, *_struct(Manifest, "")]) + "\n"


def events() -> str:
    """What a station announces."""
    words = (
        "What a station announces at `edge/v1/<site>/<station>/event/<severity>`, as a "
        "[StationEvent](messages.md#event). Events go at best effort: while the broker is away, the newest 256 wait."
    )
    rows = [f"| `{name}` | {severity.value} | {about} |" for name, (severity, about) in sorted(EVENTS.items())]
    return (
        "\n\n".join(["# Events", NOTICE, words, "\n".join(["| Name | Severity | What |", "|---|---|---|", *rows])])
        + "\n"
    )


PAGES = {
    "events.md": events,
    "configuration.md": configuration,
    "messages.md": messages,
    "errors.md": error_tree,
    "manifest.md": manifest,
}


def main() -> int:
    """Write, or check."""
    stale = 0
    for name, made in PAGES.items():
        path, text = HERE / name, made()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if "--check" in sys.argv:
            sys.stderr.write(f"{path.name} is not fresh. Run: make reference\n")
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
