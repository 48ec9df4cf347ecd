"""The plan of a merge: whether the members fit together, and what of each goes into the one graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.merge.fusion import Fusion
from edge_sdk.base import plugins
from edge_sdk.base.errors import ConversionError
from edge_sdk.base.ids import check_id
from edge_sdk.contract.bundle import Bundle
from edge_sdk.contract.manifest import Channel, Manifest, Step, Windowing
from edge_sdk.inference.preprocess import Affine, Clip, Preprocess, Transform

LEAST = 1e-12  # below it a station's model lifts a probability before it is raised to a power


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One model that is merged.

    Attributes:
        bundle: Where it comes from.
        columns: Places of its channels among the merged model's.
        transforms: Its preprocessing: affine steps and clips, in order.
    """

    bundle: Bundle
    columns: tuple[int, ...]
    transforms: tuple[Affine | Clip, ...]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.bundle.manifest.name

    @property
    def manifest(self) -> Manifest:
        """What its bundle says."""
        return self.bundle.manifest

    def calibrated(self, answer: NDArray[np.float32]) -> NDArray[np.float64]:
        """What a station's model makes of its backend's answer: the temperature, and a sum of 1; flat."""
        flat = answer.ravel().astype(np.float64)
        if self.manifest.task != "classification":
            return flat
        if self.manifest.temperature != 1.0:
            flat = np.maximum(flat, LEAST) ** (1.0 / self.manifest.temperature)
        return np.asarray(flat / flat.sum())

    def physical(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo the preprocessing of recorded inputs ``(n, length, n_channels)``: about the windows they came from."""
        for step in reversed(self.transforms):
            if isinstance(step, Affine):
                inputs = (inputs - step.offset) / step.gain
        return inputs.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is to be made.

    Attributes:
        name: Name of the merged model.
        sensor: What it reads.
        channels: All channels of the members, the first one's first.
        windowing: The members' own.
        members: In the order given.
        fusion: How they become one.
    """

    name: str
    sensor: str
    channels: tuple[Channel, ...]
    windowing: Windowing
    members: tuple[Member, ...]
    fusion: Fusion

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names."""
        return tuple(member.name for member in self.members)

    @property
    def pools(self) -> bool:
        """Whether logarithms of probabilities are averaged, rather than what the members say."""
        return self.classifies and self.fusion.method == "log_opinion_pool"

    @property
    def classifies(self) -> bool:
        """Whether they give probabilities, rather than estimates."""
        return self.members[0].manifest.task == "classification"

    @property
    def width(self) -> int:
        """How many values the answer has."""
        return len(self.members[0].manifest.labels) or 1

    @property
    def weights(self) -> NDArray[np.float64]:
        """What each member's row counts for; of estimates in a log-opinion pool by precision, where all state one."""
        shares = self.fusion.shares(self.names)
        if self.pools:
            return np.asarray(shares * len(self.names) ** (1.0 - self.fusion.temper))
        if self._precisions is not None:
            return np.asarray(self._precisions / self._precisions.sum())
        return shares

    @property
    def error_std(self) -> float | None:
        """Standard deviation of a pooled estimate; None where it is not the same for every window."""
        if self._precisions is None:
            return None
        power = len(self.names) ** (1.0 - self.fusion.temper)
        return float(1.0 / np.sqrt(power * self._precisions.sum()))

    @property
    def _precisions(self) -> NDArray[np.float64] | None:
        stds = [member.manifest.error_std for member in self.members]
        if self.classifies or self.fusion.method != "log_opinion_pool" or not all(stds):
            return None
        return self.fusion.shares(self.names) / np.asarray(stds, np.float64) ** 2

    def fuse(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the station's fuser says of the members' answers ``(n_members, width)``: the graph must say the same."""
        if not self.pools:
            mean: NDArray[np.float64] = self.weights @ rows
            return mean
        pooled = self.weights @ np.log(np.maximum(rows, self.fusion.floor))
        e = np.exp(pooled - pooled.max())
        return np.asarray(e / e.sum())


def make_plan(bundles: Sequence[Bundle], fusion: Fusion, *, name: str, sensor: str | None = None) -> Plan:
    """Look whether bundles can be merged.

    Args:
        bundles: The members, at least two.
        fusion: How they become one.
        name: Name of the merged model.
        sensor: The sensor that measures all their channels; needed where the members name different ones.

    Raises:
        ConversionError: They do not answer the same question, do not share a trigger, or one of them does in Python
            what cannot go into a graph. The message says which, and what to do.
    """
    check_id("The merged model's name", name)
    if len(bundles) < 2:
        raise ConversionError("Merging wants at least two bundles.")
    first = bundles[0].manifest
    names = [bundle.manifest.name for bundle in bundles]
    if len(set(names)) != len(names):
        raise ConversionError(f"Two members have the same name: {', '.join(names)}. Convert one under another name.")
    for bundle in bundles:
        _check_alike(first, bundle.manifest)
    sensors = list(dict.fromkeys(bundle.manifest.sensor for bundle in bundles))
    if sensor is None and len(sensors) > 1:
        raise ConversionError(
            f"The members read different sensors ({', '.join(sensors)}), and a merged model reads one. If one sensor "
            "measures all their channels, name it: --sensor NAME."
        )
    channels: dict[tuple[str, str], Channel] = {}
    for bundle in bundles:
        for key, channel in _keyed(bundle, sensors):
            channels[key] = _both(channels.get(key, channel), channel)
    places = {key: index for index, key in enumerate(channels)}
    fusion.shares(names)
    return Plan(
        name=name,
        sensor=sensor or sensors[0],
        channels=_named_apart(channels),
        windowing=Windowing(
            length=first.windowing.length,
            stride=first.windowing.stride,
            rate_hz=first.windowing.rate_hz,
            minimum_coverage=max(bundle.manifest.windowing.minimum_coverage for bundle in bundles),
        ),
        members=tuple(
            Member(
                bundle,
                tuple(places[key] for key, _ in _keyed(bundle, sensors)),
                tuple(_in_graph(bundle.manifest.name, step) for step in _merged(bundle.manifest.preprocess)),
            )
            for bundle in bundles
        ),
        fusion=fusion,
    )


def _keyed(bundle: Bundle, sensors: Sequence[str]) -> list[tuple[tuple[str, str], Channel]]:
    """Channels are the same where sensor and name are."""
    sensor = bundle.manifest.sensor if len(sensors) > 1 else ""
    return [((sensor, channel.name), channel) for channel in bundle.manifest.channels]


def _named_apart(channels: dict[tuple[str, str], Channel]) -> tuple[Channel, ...]:
    """Channels of different sensors with one name carry the sensor's name, too."""
    counts = Counter(name for _, name in channels)
    return tuple(
        channel if counts[name] == 1 else msgspec.structs.replace(channel, name=f"{sensor}.{name}")
        for (sensor, name), channel in channels.items()
    )


def _check_alike(first: Manifest, other: Manifest) -> None:
    if (other.task, other.labels, other.unit) != (first.task, first.labels, first.unit):
        raise ConversionError(
            f"{first.name!r} and {other.name!r} do not answer the same question: {first.task} of "
            f"{list(first.labels) or first.unit} against {other.task} of {list(other.labels) or other.unit}."
        )
    one, two = first.windowing, other.windowing
    if (one.length, one.stride, one.rate_hz) != (two.length, two.stride, two.rate_hz):
        raise ConversionError(
            f"{first.name!r} and {other.name!r} share no trigger: windows of {one.length} samples every {one.stride} "
            f"at {one.rate_hz:g} Hz against {two.length} every {two.stride} at {two.rate_hz:g} Hz. Fuse them in a "
            "stream."
        )
    if other.reconstructs:
        raise ConversionError(
            f"{other.name!r} reconstructs its input; what that makes of a window is not in its graph."
        )


def _both(one: Channel, other: Channel) -> Channel:
    """A channel that two members read: the tighter limits of both."""
    if one.unit != other.unit:
        raise ConversionError(
            f"Channel {one.name!r} is in {one.unit or 'no unit'} for one member and in {other.unit or 'no unit'} for "
            "another. Convert one of them with another channel name."
        )
    return Channel(
        name=one.name,
        unit=one.unit,
        minimum=_tighter(max, one.minimum, other.minimum),
        maximum=_tighter(min, one.maximum, other.maximum),
        maximum_rate=_tighter(min, one.maximum_rate, other.maximum_rate),
        stuck_after_s=_tighter(min, one.stuck_after_s, other.stuck_after_s),
    )


def _tighter(choose: Callable[[Iterable[float]], float], one: float | None, other: float | None) -> float | None:
    given = [value for value in (one, other) if value is not None]
    return choose(given) if given else None


def _merged(steps: Sequence[Step]) -> tuple[Transform, ...]:
    return Preprocess.of(steps).transforms


def _in_graph(name: str, transform: Transform) -> Affine | Clip:
    if not isinstance(transform, Affine | Clip):
        known = ", ".join(sorted(plugins.found("edge_sdk.preprocess")))
        raise ConversionError(
            f"{name!r} has a preprocessing step ({type(transform).__name__}) that works in Python. A merged model has "
            f"its preprocessing in the graph, which holds standardize, scale and clip of {known}."
        )
    return transform
