from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.sensors.pick import Pick, moment_ns, number

TASMOTA = {"Time": "2026-11-21T02:17:00", "AM2301": {"Temperature": 21.5, "Humidity": "40.2"}, "TempUnit": "C"}
ZIGBEE2MQTT = {"battery": 97, "contact": False, "state": "ON", "a.b": {"c": [1, {"d": 2}]}}


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        (TASMOTA, "AM2301.Temperature", 21.5),
        (TASMOTA, "AM2301.Humidity", 40.2),
        (ZIGBEE2MQTT, "contact", 0.0),
        (ZIGBEE2MQTT, "state", 1.0),
        (ZIGBEE2MQTT, "a.b.c.0", 1.0),
        (ZIGBEE2MQTT, "a.b.c.1.d", 2.0),
        (21.5, "", 21.5),
        ("closed", "", 0.0),
        (TASMOTA, "AM2301", None),
        (TASMOTA, "TempUnit", None),
        (ZIGBEE2MQTT, "a.b.c.2", None),
        (ZIGBEE2MQTT, "a.b.c.x", None),
        ({"x": None}, "x", None),
        ({"x": math.inf}, "x", None),
        ({"x": "nan"}, "x", None),
        ({"x": 10**400}, "x", None),
    ],
)
def test_a_value_is_found_by_its_path(document: object, path: str, value: float | None) -> None:
    counters: Counter[str] = Counter()

    row = Pick({"c": path, "one": "one"}, counters=counters).row(document)

    assert (row is None) == (value is None)
    if row is not None:
        assert row[0] == value
        assert math.isnan(row[1])
        assert counters == {"values.missing": 1}
    else:
        assert counters["messages.empty"] == 1


def test_what_is_not_there_is_counted_apart_from_what_is_no_number() -> None:
    counters: Counter[str] = Counter()

    Pick({"a": "a", "b": "b", "c": "c"}, counters=counters).row({"a": 1, "b": "many"})

    assert counters == {"values.missing": 1, "values.malformed": 1}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("2026-11-21T02:17:00Z", 1_795_227_420_000_000_000),
        ("2026-11-21T03:17:00.5+01:00", 1_795_227_420_500_000_000),
        (1_795_227_420, 1_795_227_420_000_000_000),
        (1_795_227_420_250, 1_795_227_420_250_000_000),
        ("1795227420", 1_795_227_420_000_000_000),
        ("2026-11-21T02:17:00", None),
        ("2026-11-21 02:17:00.123456789z", 1_795_227_420_123_456_000),
        ("yesterday", None),
        (17, None),
        (None, None),
        (True, None),
    ],
)
def test_a_time_is_read_only_where_it_is_certain(given: object, wanted: int | None) -> None:
    got = moment_ns(given)

    assert got == (None if wanted is None else pytest.approx(wanted, abs=1000))


documents: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b", "0"]), inner),
    max_leaves=8,
)


@settings(max_examples=150)
@given(document=documents, path=st.sampled_from(["", "a", "a.b", "a.b.0", "0.a", "b.a.b", ".", "a..b"]))
def test_any_document_gives_finite_numbers_or_nothing(document: object, path: str) -> None:
    row = Pick({"c": path}, counters=Counter()).row(document)

    assert row is None or math.isfinite(row[0])
    assert not math.isinf(number(document))
    moment_ns(document)
