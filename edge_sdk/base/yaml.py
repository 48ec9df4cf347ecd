"""YAML: files into strict structs, with errors that name line, column, field and nearest name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from edge_sdk.base.errors import ConfigError, nearest

_T = TypeVar("_T")
_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")


def read_plain(path: Path) -> Any:
    """Read a YAML file as plain data, for formats that allow short forms.

    Raises:
        ConfigError: Not there, or not YAML.
    """
    return _parse(_read(path), source=str(path))[0]


def read_yaml(path: Path, kind: type[_T]) -> _T:
    """Read a YAML file into `kind`, a msgspec struct that forbids unknown fields.

    Raises:
        ConfigError: Not there, not YAML, or not what `kind` says; the message holds file, line, field and a remedy.
    """
    return parse_yaml(_read(path), kind, source=str(path))


def parse_yaml(text: str, kind: type[_T], *, source: str) -> _T:
    """Read YAML text into `kind`; `source` is named in errors.

    Raises:
        ConfigError: As `read_yaml`.
    """
    data, root = _parse(text, source=source)
    return convert({} if data is None else data, kind, source=source, directory=Path(source).parent, root=root)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Check the path.") from error


def _parse(text: str, *, source: str) -> tuple[Any, yaml.Node | None]:
    """Plain data, and the node tree that knows the lines."""
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise ConfigError(f"{where}: not YAML: {error.problem or error.context}. Check indents and colons.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {error}.") from error
    if repeated := _repeated_key(root):
        raise ConfigError(f"{source}:{_mark(repeated)}: {repeated.value!r} stands twice. Keep one of them.")
    return data, root


def place(path: Path, steps: Sequence[str]) -> str:
    """Where a field stands, for the head of a message: ``station.yaml:7:5: streams.level.models``.

    Args:
        path: A file that was read before.
        steps: Names and indices down to the field.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):  # changed since it was read: then without a line
        root = None
    where = _position(root, list(steps))
    return f"{path}:{where}: {'.'.join(steps)}" if where else f"{path}: {'.'.join(steps)}"


def convert(
    data: object,
    kind: type[_T],
    *,
    source: str,
    directory: Path,
    root: yaml.Node | None = None,
    at: Sequence[str] = (),
) -> _T:
    """Turn parsed data into `kind`, with the same errors.

    Args:
        data: What was parsed.
        kind: A msgspec struct; its fields of type `Path` are taken relative to `directory`.
        source: Named in errors.
        directory: Where relative paths begin.
        root: The YAML node of the whole file: gives the lines. None = the file `source` is read for them, if it is one.
        at: Names and indices from the file's root down to `data`.

    Raises:
        ConfigError: As `read_yaml`.
    """

    def decode(field: type, value: object) -> object:
        if field is Path and isinstance(value, str) and value:
            return directory / value
        raise ValueError(f"Expected a path, got {value!r}")

    def attempt(given: object) -> _T:
        return msgspec.convert(given, kind, str_keys=True, dec_hook=decode)

    try:
        return attempt(data)
    except msgspec.ValidationError as error:
        what, steps = _named(error, data, attempt)
        hint = ""
        if unknown := _UNKNOWN.search(what):
            hint = f" {nearest(unknown['name'], _fields(kind, steps))}"
            steps.append(unknown["name"])
        elif what.startswith("Expected `str`, got"):
            hint = " Put it into quotes."
        steps = [*at, *steps]
        if root is None:
            where = place(Path(source), steps)
        else:
            position = _position(root, steps)
            where = f"{source}{position and f':{position}'}: {'.'.join(steps)}"
        raise ConfigError(f"{where}{'' if steps else 'the file'}: {what[:1].lower()}{what[1:]}.{hint}") from error


def _named(error: msgspec.ValidationError, data: Any, attempt: Callable[[object], object]) -> tuple[str, list[str]]:
    """What is wrong, and the steps down to it.

    msgspec says ``[...]`` for a key of a mapping: of the mapping's items the first is meant that alone fails alike.
    """
    matched = _AT.match(str(error))
    if matched is None:
        return str(error), []
    steps = [found["key"] or found["index"] for found in _STEP.finditer((matched["path"] or "$")[1:])]
    if matched["key"]:
        steps.append("...")
    for index, step in enumerate(steps):
        if step == "...":
            for key, value in _at(data, steps[:index]).items():
                try:
                    attempt(_replaced(data, steps[:index], {key: value}))
                except msgspec.ValidationError as alone:
                    if str(alone) == str(error):
                        steps[index] = str(key)
                        break
    return matched["what"], steps


def _at(data: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        data = data[_key(data, step)]
    return data


def _key(data: Any, step: str) -> Any:
    """The index or key that is written `step`; YAML keys may be numbers."""
    return int(step) if isinstance(data, list) else next(key for key in data if str(key) == step)


def _replaced(data: Any, steps: Sequence[str], value: object) -> Any:
    """A copy of `data` with `value` at `steps`."""
    if not steps:
        return value
    key = _key(data, steps[0])
    below = _replaced(data[key], steps[1:], value)
    return [*data[:key], below, *data[key + 1 :]] if isinstance(data, list) else {**data, key: below}


def _fields(kind: Any, steps: list[str]) -> list[str]:
    """Names that the struct at `steps` below `kind` knows."""
    info: Any = msgspec.inspect.type_info(kind)
    for step in steps:
        info = _below(info, step)
    for option in _options(info):
        if isinstance(option, msgspec.inspect.StructType):
            return [field.encode_name for field in option.fields]
    return []


def _options(info: Any) -> Sequence[Any]:
    """The types that a field may have, without their descriptions."""
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    return getattr(info, "types", (info,))


def _below(info: Any, step: str) -> Any:
    for option in _options(info):
        if isinstance(option, msgspec.inspect.StructType):
            for field in option.fields:
                if field.encode_name == step:
                    return field.type
        elif isinstance(option, msgspec.inspect.DictType):
            return option.value_type
        elif hasattr(option, "item_type"):
            return option.item_type
    return info


def _mark(node: yaml.Node) -> str:
    return f"{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _position(node: yaml.Node | None, steps: list[str]) -> str:
    """``line:column`` of the field at `steps`, or of the nearest thing above it that is there; empty = not known."""
    if node is None:
        return ""
    found = _mark(node)
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == step), None)
            if pair is None:
                break
            found, node = _mark(pair[0]), pair[1]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            node = node.value[int(step)]
            found = _mark(node)
        else:
            break
    return found


def _repeated_key(node: yaml.Node | None) -> yaml.ScalarNode | None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    return key
                seen.add(key.value)
            if below := _repeated_key(value):
                return below
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            if below := _repeated_key(value):
                return below
    return None
