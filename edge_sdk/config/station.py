"""``station.yaml``: everything a station is told. Unknown keys are errors; secrets are paths to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.base.ids import ID_PATTERN
from edge_sdk.base.yaml import place, read_yaml
from edge_sdk.inference.delegates import Delegate
from edge_sdk.inference.guards import Guards
from edge_sdk.sensors.channels import ChannelConfig

Id = Annotated[str, Meta(pattern=ID_PATTERN, description="1 to 64 letters, digits, '_' or '-'.")]
Positive = Annotated[float, Meta(gt=0)]
Verb = Literal["ping", "rebirth", "snapshot", "log-level", "pause", "config-set", "bundle-install"]
NotNegative = Annotated[float, Meta(ge=0)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BrokerConfig(_Strict, frozen=True, kw_only=True):
    """The MQTT broker."""

    url: Annotated[str, Meta(description="mqtt://HOST[:PORT] or mqtts://HOST[:PORT].")] = "mqtt://127.0.0.1:1883"
    ca_file: Annotated[Path | None, Meta(description="Certificates to believe; default: the system's.")] = None
    certificate_file: Annotated[Path | None, Meta(description="Our certificate, for mutual TLS.")] = None
    key_file: Annotated[Path | None, Meta(description="Its private key.")] = None
    username: Annotated[str | None, Meta(description="Who we are there; default: anonymous.")] = None
    password_file: Annotated[Path | None, Meta(description="File with the password, one line.")] = None
    delivery: Annotated[
        Literal["monitor", "broker"],
        Meta(description="Who says that a result is safe: the monitor's receipt, or (weaker) the broker's PUBACK."),
    ] = "monitor"
    home_assistant: Annotated[bool, Meta(description="Introduce the station to Home Assistant on this broker.")] = False
    home_assistant_expire_s: Annotated[
        int, Meta(ge=0, description="Without a result for so long a stream is unavailable there, s; 0 = never.")
    ] = 0
    fallback_urls: Annotated[
        tuple[str, ...],
        Meta(description="Brokers to try in order when the first is away; they pass messages on to it."),
    ] = ()
    mqtt_version: Annotated[Literal["5", "3.1.1"], Meta(description="Version of MQTT that the broker speaks.")] = "5"
    backlog_results_per_s: Annotated[Positive, Meta(description="How quickly a backlog drains.")] = 2000.0
    limit_bytes_per_s: Annotated[
        Positive | None, Meta(description="Bound on all that is sent, for links paid by the byte; default: none.")
    ] = None
    compress_packs: Annotated[bool, Meta(description="Compress packs with zlib; readers must expand them.")] = False
    encoding: Annotated[Literal["json", "msgpack"], Meta(description="How results and packs are written.")] = "json"
    trace_results: Annotated[
        bool, Meta(description="Live results say their W3C trace context (MQTT 5, user property `traceparent`).")
    ] = False


class TrustConfig(_Strict, frozen=True, kw_only=True):
    """Whose bundles are accepted."""

    keys: Annotated[tuple[Path, ...], Meta(description="Public key files (.pub) whose signatures count.")] = ()
    allow_unsigned: Annotated[bool, Meta(description="Accept any bundle whose digests are right.")] = False


class SensorConfig(_Strict, frozen=True, kw_only=True):
    """One sensor: a plug-in and its options."""

    kind: Annotated[str, Meta(description="A plug-in of edge_sdk.sensors: replay, simulated …")]
    options: Annotated[dict[str, Any], Meta(description="What that plug-in takes.")] = {}
    channels: Annotated[
        dict[str, ChannelConfig],
        Meta(description="The channels to hand on, in order, with scale, offset, unit; none = all as they are."),
    ] = {}
    rate_hz: Annotated[
        Positive | None, Meta(description="Samples a second to expect; default: what the plug-in says.")
    ] = None
    stale_after_s: Annotated[
        Positive | None,
        Meta(description="Silence after which it is stale, and after three times that lost and opened anew, s."),
    ] = None


class ModelConfig(_Strict, frozen=True, kw_only=True):
    """One model: a bundle, and the sensor that it reads."""

    bundle: Annotated[Path, Meta(description="Path of the .edge file.")]
    sensor: Annotated[Id | None, Meta(description="Name of the sensor; default: the one the bundle names.")] = None
    runtime: Annotated[str | None, Meta(description="litert, tflite, onnxruntime; default: the first there is.")] = None
    precision: Annotated[str | None, Meta(description="Which variant; default: the bundle's first.")] = None
    threads: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Threads for one call; default: by a short measurement at the start, within the cores."),
    ] = None
    delegates: Annotated[
        tuple[str | Delegate, ...], Meta(description="Delegates or execution providers, in order, by name or in full.")
    ] = ()
    fallback: Annotated[Literal["cpu"] | None, Meta(description="'cpu' = run there if a delegate is missing.")] = None
    guards: Annotated[
        Guards | None, Meta(description="What must hold of windows and answers here, besides what the bundle says.")
    ] = None
    max_age_s: Annotated[
        NotNegative | None, Meta(description="How long its old prediction still counts, s; default: the stream's.")
    ] = None


class FusionConfig(_Strict, frozen=True, kw_only=True):
    """How the predictions of a stream become one."""

    method: Annotated[str, Meta(description="A plug-in of edge_sdk.fusers.")] = "log_opinion_pool"
    options: Annotated[dict[str, Any], Meta(description="What that plug-in takes: weights, floor …")] = {}
    file: Annotated[
        Path | None, Meta(description="A .fusion file of `edge-sdk fuse fit`, in place of all else here.")
    ] = None
    temperatures: Annotated[
        dict[str, Positive], Meta(description="By model: its log-probabilities are divided by it; above 1 = less sure.")
    ] = {}
    dwell_s: Annotated[
        NotNegative, Meta(description="Mean time that the truth stays what it is, s; 0 = no filter.")
    ] = 0.0
    hysteresis: Annotated[
        NotNegative, Meta(description="By which share another label must beat the present one; 0 = none.")
    ] = 0.0


class OverloadConfig(_Strict, frozen=True, kw_only=True):
    """What happens when more windows wait than can be predicted; moments are given up whole, and counted."""

    policy: Annotated[
        Literal["wait", "latest", "every_nth", "queue"],
        Meta(
            description="wait: sensors wait, nothing is given up. latest: of what waits, the newest is predicted. "
            "every_nth: every n-th, and the newest. queue: the newest n."
        ),
    ] = "wait"
    n: Annotated[int, Meta(ge=1, description="The n of every_nth and queue.")] = 16


class StreamConfig(_Strict, frozen=True, kw_only=True):
    """One stream of fused results."""

    models: Annotated[
        tuple[ModelConfig, ...], Meta(min_length=1, description="The models; all answer the same question.")
    ]
    fusion: Annotated[FusionConfig, Meta(description="How their predictions become one.")] = FusionConfig()
    align: Annotated[
        Literal["on_all", "on_any", "tick", "basepad"],
        Meta(
            description="When a result is made: at each window of all models, of any of them, every tick_s, "
            "or at each window of `base`."
        ),
    ] = "on_all"
    tick_s: Annotated[Positive | None, Meta(description="From one result to the next, s; for `align: tick`.")] = None
    base: Annotated[str | None, Meta(description="The model whose windows make the results; for `align: basepad`.")] = (
        None
    )
    tolerance_s: Annotated[
        NotNegative, Meta(description="How far from the base's another window may end, s; for `align: basepad`.")
    ] = 0.0
    lateness_s: Annotated[NotNegative, Meta(description="How long to wait for absent sensors, s.")] = 2.0
    late_samples_s: Annotated[
        NotNegative, Meta(description="How late a block may come and be sorted in, s; every result waits for it.")
    ] = 0.0
    max_age_s: Annotated[NotNegative, Meta(description="How long an old prediction still counts as stale, s.")] = 30.0
    priority: Annotated[
        Literal["low", "normal", "high"],
        Meta(description="Who gets cores first, and whose results stay longest in a full outbox."),
    ] = "normal"
    deadline_s: Annotated[
        Positive | None, Meta(description="A window whose turn comes later than this is given up, s; default: none is.")
    ] = None
    overload: Annotated[OverloadConfig, Meta(description="When more windows wait than can be predicted.")] = (
        OverloadConfig()
    )


class OutboxConfig(_Strict, frozen=True, kw_only=True):
    """The outbox: accepted results, on disk until the monitor has them."""

    quota_mb: Annotated[Positive, Meta(description="Largest size of the file, 10⁶ bytes.")] = 256.0
    max_age_s: Annotated[Positive | None, Meta(description="Older results are given up; default: never.")] = None
    on_full: Annotated[
        Literal["drop_oldest", "thin", "refuse"],
        Meta(description="What gives way under a full quota: the oldest, all but every n-th of them, or new ones."),
    ] = "drop_oldest"
    keep_every: Annotated[int, Meta(ge=2, description="With `thin`: that n, for each stream.")] = 5
    keep_after_receipt_s: Annotated[
        NotNegative,
        Meta(description="How long results stay after their receipt, for a monitor restored from a backup."),
    ] = 3600.0
    commit_within_ms: Annotated[
        NotNegative,
        Meta(description="How long a result may wait for others to share its commit, ms: spares cards, costs latency."),
    ] = 0.0
    commit_results: Annotated[
        int, Meta(ge=1, description="So many results are committed without waiting for more.")
    ] = 100


class GovernorConfig(_Strict, frozen=True, kw_only=True):
    """Less work when the board is hot, slowed down or behind: smaller variants of the bundles, then fewer windows."""

    hot_c: Annotated[float, Meta(description="At this temperature of the processor work gets less, °C.")] = 78.0
    cool_c: Annotated[float, Meta(description="Up to this one it may get more again, °C; less than hot_c.")] = 70.0
    behind_s: Annotated[
        Positive, Meta(description="When the oldest waiting block is older than this, work gets less, s.")
    ] = 2.0
    hold_s: Annotated[
        Positive, Meta(description="How long a step is tried before the next one down, s; up takes 4 times that.")
    ] = 15.0
    look_every_s: Annotated[Positive, Meta(description="From one look at the board to the next, s.")] = 2.0


class StatusConfig(_Strict, frozen=True, kw_only=True):
    """The status endpoint: http://127.0.0.1:PORT/ for people, /metrics for Prometheus, /healthz for watchers."""

    port: Annotated[int, Meta(ge=0, le=65535, description="Where it listens on 127.0.0.1; 0 = any free port.")] = 9120


class RemoteConfig(_Strict, frozen=True, kw_only=True):
    """What may be done from afar, by commands over MQTT; whatever is not allowed here is refused."""

    allow: Annotated[tuple[Verb, ...], Meta(description="The commands that are obeyed; default: none.")] = ()
    allow_downgrade: Annotated[
        bool, Meta(description="Take bundles with a lower release number than the one that runs.")
    ] = False
    fetch_from: Annotated[
        tuple[str, ...],
        Meta(description="Beginnings of the URLs that bundles may be fetched from; default: only over MQTT."),
    ] = ()
    max_bundle_mb: Annotated[Positive, Meta(description="Largest bundle that is taken, 10⁶ bytes.")] = 64.0


class LocationConfig(_Strict, frozen=True, kw_only=True):
    """Where the station stands."""

    latitude: Annotated[float, Meta(ge=-90, le=90, description="Degrees north.")]
    longitude: Annotated[float, Meta(ge=-180, le=180, description="Degrees east.")]


class StationConfig(_Strict, frozen=True, kw_only=True):
    """The whole file. Relative paths in it are relative to the file."""

    site: Annotated[Id, Meta(description="The site's id: 1 to 64 letters, digits, '_' or '-'.")]
    station: Annotated[Id, Meta(description="The station's id, its own within the site: as the site's.")]
    state_directory: Annotated[Path, Meta(description="Where the outbox and crash reports live.")]
    broker: Annotated[BrokerConfig, Meta(description="Where results go.")] = BrokerConfig()
    trust: Annotated[TrustConfig, Meta(description="Whose bundles are accepted; without it none is.")] = TrustConfig()
    location: Annotated[LocationConfig | None, Meta(description="Where the station stands, for maps.")] = None
    sensors: Annotated[dict[Id, SensorConfig], Meta(min_length=1, description="What measures, by name.")]
    streams: Annotated[dict[Id, StreamConfig], Meta(min_length=1, description="What is made of it, by name.")]
    outbox: Annotated[OutboxConfig, Meta(description="How much may wait for the monitor.")] = OutboxConfig()
    governor: Annotated[
        GovernorConfig | None,
        Meta(description="When to work less; `governor: {}` = by these limits, absent = never."),
    ] = None
    health_every_s: Annotated[Positive, Meta(description="Seconds between health messages.")] = 10.0
    status: Annotated[
        StatusConfig | None, Meta(description="A status endpoint on this machine; `status: {}` = by these settings.")
    ] = None
    remote: Annotated[RemoteConfig, Meta(description="What may be done from afar; default: nothing.")] = RemoteConfig()


def read_station(path: Path) -> StationConfig:
    """Read ``station.yaml``; check what one field alone cannot show.

    Raises:
        ConfigError: With file, line, column, field and remedy.
    """
    config = read_yaml(path, StationConfig)
    check_station(path, config)
    return config


def check_station(path: Path, config: StationConfig) -> None:
    """Check what one field alone cannot show; `path` is where the configuration was read from.

    Raises:
        ConfigError: With file, line, column, field and remedy.
    """
    for stream, settings in config.streams.items():
        _check_stream(path, config, stream, settings)
    governor = config.governor
    if governor is not None and not governor.cool_c < governor.hot_c:
        raise ConfigError(
            f"{place(path, ['governor'])}: cool_c is {governor.cool_c:g} and hot_c {governor.hot_c:g}. "
            "Give a lower cool_c."
        )
    broker = config.broker
    if broker.key_file is not None and broker.certificate_file is None:
        raise ConfigError(f"{place(path, ['broker', 'key_file'])}: a key of nothing. Give certificate_file, too.")
    if broker.password_file is not None and broker.username is None and "@" not in broker.url:
        raise ConfigError(f"{place(path, ['broker', 'password_file'])}: a password of nobody. Give username, too.")


def _check_stream(path: Path, config: StationConfig, stream: str, settings: StreamConfig) -> None:
    here = ["streams", stream]
    if (settings.align == "tick") != (settings.tick_s is not None):
        where = place(path, [*here, "align" if settings.tick_s is None else "tick_s"])
        raise ConfigError(f"{where}: `align: tick` and tick_s go together. Give both, or neither.")
    if (settings.align == "basepad") != (settings.base is not None):
        where = place(path, [*here, "align" if settings.base is None else "base"])
        raise ConfigError(f"{where}: `align: basepad` and base go together. Give both, or neither.")
    if settings.fusion.file is not None and (
        settings.fusion.temperatures or settings.fusion.dwell_s or settings.fusion.hysteresis
    ):
        where = place(path, [*here, "fusion", "file"])
        raise ConfigError(f"{where}: the fusion file holds temperatures and smoothing. Remove these, or `file`.")
    if settings.fusion.file is not None and settings.fusion.options:
        where = place(path, [*here, "fusion", "options"])
        raise ConfigError(f"{where}: the fusion file holds the options. Remove these, or `file`.")
    for index, model in enumerate(settings.models):
        if model.sensor is not None and model.sensor not in config.sensors:
            raise ConfigError(
                f"{place(path, [*here, 'models', str(index), 'sensor'])}: no sensor {model.sensor!r} in this file. "
                f"{nearest(model.sensor, config.sensors)}"
            )
