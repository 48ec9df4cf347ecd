"""YAML: files into strict structs, with errors that name line, field and nearest name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from edge_sdk.base.errors import ConfigError, nearest

_T = TypeVar("_T")
_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
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
        raise ConfigError(
            f"{source}:{repeated.start_mark.line + 1}: {repeated.value!r} stands twice. Keep one of them."
        )
    return data, root


def convert(data: object, kind: type[_T], *, source: str, directory: Path, root: yaml.Node | None = None) -> _T:
    """Turn parsed data into `kind`, with the same errors.

    Args:
        data: What was parsed.
        kind: A msgspec struct; its fields of type `Path` are taken relative to `directory`.
        source: Named in errors.
        directory: Where relative paths begin.
        root: The YAML node of `data`: gives the lines.

    Raises:
        ConfigError: As `read_yaml`.
    """

    def decode(field: type, value: object) -> object:
        if field is Path and isinstance(value, str) and value:
            return directory / value
        raise ValueError(f"Expected a path, got {value!r}")

    try:
        return msgspec.convert(data, kind, str_keys=True, dec_hook=decode)
    except msgspec.ValidationError as error:
        matched = _AT.match(str(error))
        what, path = (matched["what"], matched["path"] or "$") if matched else (str(error), "$")
        steps = [found["key"] or found["index"] for found in _STEP.finditer(path[1:])]
        hint = ""
        if unknown := _UNKNOWN.search(what):
            hint = f" {nearest(unknown['name'], _fields(kind, steps))}"
            steps.append(unknown["name"])
        line = _line(root, steps)
        where = f"{source}:{line}" if line else source
        field = ".".join(steps) or "the file"
        raise ConfigError(f"{where}: {field}: {what[:1].lower()}{what[1:]}.{hint}") from error


def _fields(kind: Any, steps: list[str]) -> list[str]:
    """Names that the struct at `steps` below `kind` knows."""
    info: Any = msgspec.inspect.type_info(kind)
    for step in steps:
        info = _below(info, step)
    for option in getattr(info, "types", (info,)):
        if isinstance(option, msgspec.inspect.StructType):
            return [field.encode_name for field in option.fields]
    return []


def _below(info: Any, step: str) -> Any:
    for option in getattr(info, "types", (info,)):
        if isinstance(option, msgspec.inspect.StructType):
            for field in option.fields:
                if field.encode_name == step:
                    return field.type
        elif isinstance(option, msgspec.inspect.DictType):
            return option.value_type
        elif hasattr(option, "item_type"):
            return option.item_type
    return info


def _line(node: yaml.Node | None, steps: list[str]) -> int:
    """The line of the field at `steps`, or of the nearest thing above it that is there; 0 = not known."""
    if node is None:
        return 0
    line: int = node.start_mark.line + 1
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == step), None)
            if pair is None and step == "..." and len(node.value) == 1:
                pair = node.value[0]
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            node = node.value[int(step)]
            line = node.start_mark.line + 1
        else:
            break
    return line


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
