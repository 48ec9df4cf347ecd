from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.channels import ChannelConfig, Channels

READING = Reading("air", np.array([[1, 2, 3], [4, 5, 6]], np.float32), 0, rate_hz=1.0)
CHANNELS, UNITS = ("t", "p", "h"), ("°C", "kPa", "%")


def channels(**settings: ChannelConfig) -> Channels:
    return Channels(settings, channels=CHANNELS, units=UNITS, sensor="air")


def test_without_settings_the_very_same_reading_is_handed_on() -> None:
    made = channels()

    assert made.apply(READING) is READING
    assert (made.channels, made.units) == (CHANNELS, UNITS)


def test_channels_are_picked_ordered_renamed_and_put_right() -> None:
    made = channels(pressure=ChannelConfig(source="p", scale=10, unit="hPa"), t=ChannelConfig(offset=-0.5))

    assert made.apply(READING).samples.tolist() == [[20, 0.5], [50, 3.5]]
    assert made.apply(READING).samples.dtype == np.float32
    assert (made.channels, made.units) == (("pressure", "t"), ("hPa", "°C"))


def test_what_was_not_measured_stays_not_measured() -> None:
    holed = Reading("air", np.array([[np.nan, 2, 3]], np.float32), 0, rate_hz=1.0)

    assert np.isnan(channels(t=ChannelConfig(offset=1)).apply(holed).samples).all()


def test_a_channel_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'temp'.*Known: h, p, t"):
        channels(temp=ChannelConfig())


def test_the_number_of_channels_is_checked() -> None:
    assert channels().fits(READING)
    assert not Channels({}, channels=("t",), sensor="air").fits(READING)


def test_settings_are_strict() -> None:
    with pytest.raises(msgspec.ValidationError, match="ofset"):
        msgspec.convert({"ofset": 1}, ChannelConfig)
