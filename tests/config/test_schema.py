"""The schema that editors complete by says what the program says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator

from edge_sdk.base.errors import ConfigError
from edge_sdk.base.yaml import parse_yaml
from edge_sdk.config import schema
from edge_sdk.config.station import StationConfig
from tests.config.test_station import GOOD

ROOT = Path(__file__).parent.parent.parent
COMMITTED = ROOT / "device_configs" / "schema" / schema.FILE
EXAMPLES = sorted((ROOT / "examples").rglob("station*.yaml"))
# What a number counts; a number whose name says no unit must have none.
UNITS = ("_s", "_hz", "_mb", "_bytes", "_c", "_ms", "_ns", "_per_s", "_baud", "_results")
WITHOUT_UNIT = {"hysteresis", "keep_every", "latitude", "longitude", "n", "offset", "port", "scale", "threads"}
WITHOUT_UNIT |= {"maximum", "maximum_rate", "minimum", "minimum_coverage"}  # in the unit of the bundle's channel
SECRET = ("password", "secret", "token", "passphrase", "private")


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(COMMITTED.read_text(encoding="utf-8")))


def described_fields(kind: type, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a struct and of the structs in it."""
    info: Any = msgspec.inspect.type_info(kind)
    for field in info.fields:
        yield f"{path}{field.encode_name}", field.type
        for below in structs(field.type):
            yield from described_fields(below, f"{path}{field.encode_name}.")


def structs(info: Any) -> Iterator[type]:
    match info:
        case msgspec.inspect.StructType():
            yield info.cls
        case msgspec.inspect.Metadata():
            yield from structs(info.type)
        case msgspec.inspect.UnionType():
            for one in info.types:
                yield from structs(one)
        case msgspec.inspect.DictType():
            yield from structs(info.value_type)
        case msgspec.inspect.VarTupleType():
            yield from structs(info.item_type)


def description(info: Any) -> str:
    if isinstance(info, msgspec.inspect.Metadata):
        return str((info.extra_json_schema or {}).get("description", "")) or description(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return next((found for one in info.types if (found := description(one))), "")
    return ""


def is_number(info: Any) -> bool:
    if isinstance(info, msgspec.inspect.Metadata):
        return is_number(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return any(is_number(one) for one in info.types)
    return isinstance(info, msgspec.inspect.FloatType | msgspec.inspect.IntType)


FIELDS = dict(described_fields(StationConfig))


def test_the_committed_schema_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == schema.text(), "run `make reference`"


def test_the_schema_is_a_schema(validator: Draft202012Validator) -> None:
    Draft202012Validator.check_schema(validator.schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_validates(validator: Draft202012Validator, path: Path) -> None:
    validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("station: gate-7", "statoin: gate-7"),
        ("site: city", "site: ci/ty"),
        ("sensor: light", "sensr: light"),
        ("rate_hz: 1", "rate_hz: 0"),
        ("rate_hz: 1", "rate: 1"),
        ("{kind: simulated, options: {rate_hz: 1}}", "{options: {}}"),
        ("{kind: simulated, options: {rate_hz: 1}}", "{kind: replay}"),
        ("    models:", "    align: sometimes\n    models:"),
        ("    models:", "    fusion: {method: vote, options: {wieghts: {}}}\n    models:"),
    ],
)
def test_what_the_program_refuses_the_editor_marks(validator: Draft202012Validator, old: str, new: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new)

    assert validator.is_valid(yaml.safe_load(GOOD))
    assert not validator.is_valid(yaml.safe_load(text))


def test_a_plug_in_from_elsewhere_is_not_marked(validator: Draft202012Validator) -> None:
    assert validator.is_valid(yaml.safe_load(GOOD.replace("kind: simulated", "kind: my_own")))


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_described(name: str) -> None:
    assert description(FIELDS[name]), name


@pytest.mark.parametrize("name", [name for name, info in FIELDS.items() if is_number(info)])
def test_every_number_says_its_unit(name: str) -> None:
    last = name.rpartition(".")[2]
    assert last.endswith(UNITS) or last in WITHOUT_UNIT, name


def test_secrets_are_paths_to_files() -> None:
    plain = [name for name in FIELDS if any(word in name for word in SECRET) and not name.endswith("_file")]

    assert not plain


@pytest.mark.parametrize("field", ["password", "token"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(f"broker: {{{field}: hunter2}}\n{GOOD}", StationConfig, source="test.yaml")

    assert "hunter2" not in str(caught.value)
