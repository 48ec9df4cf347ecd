"""Topics: made, taken apart, and covered by filters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.base.errors import ConfigError, PayloadError
from edge_sdk.base.ids import ID_PATTERN
from edge_sdk.contract.topics import Address, Kind, Topics, matches, parse, subscription

_IDS = st.from_regex(ID_PATTERN.replace("$", r"\Z"))
_TAILED = {Kind.RESULT, Kind.EVENT, Kind.CMD, Kind.ACK}


@given(_IDS, _IDS, st.sampled_from(Kind), _IDS)
def test_a_topic_is_taken_apart_as_it_was_made_and_its_filter_covers_it(
    site: str, station: str, kind: Kind, rest: str
) -> None:
    tail = (rest,) if kind in _TAILED else ()
    topic = Topics(site, station).of(kind, *tail)

    assert parse(topic) == Address(site, station, kind, tail)
    assert matches(subscription(kind), topic)
    assert matches(subscription(kind, site=site, station=station), topic)
    assert not matches(subscription(kind, site=f"{site}x"), topic)


@pytest.mark.parametrize(
    "topic", ["", "edge", "edge/v1/a/b", "edge/v2/a/b/birth", "/edge/v1/a/b/birth", "edge/v1/a/b/x"]
)
def test_a_topic_that_is_none_of_ours_is_refused(topic: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse(topic)

    assert caught.value.reason == "topic"


@pytest.mark.parametrize("bad", ["", "a/b", "+", "#", "ä", "a\n", "x" * 65])
def test_a_name_that_is_no_id_makes_no_topics(bad: str) -> None:
    with pytest.raises(ConfigError):
        Topics(bad, "station")
    with pytest.raises(ConfigError):
        Topics("site", bad)


@pytest.mark.parametrize(
    ("pattern", "topic", "covered"),
    [
        ("a/#", "a", True),
        ("a/+", "a", False),
        ("#", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/b", "a/b/c", False),
    ],
)
def test_filters_cover_what_mqtt_says(pattern: str, topic: str, covered: bool) -> None:
    assert matches(pattern, topic) is covered
