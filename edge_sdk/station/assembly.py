"""Assembly: names in ``station.yaml`` become objects."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

import edge_sdk
from edge_sdk.base import plugins
from edge_sdk.base.clock import Clock, to_datetime
from edge_sdk.base.errors import ConfigError, PluginError
from edge_sdk.base.yaml import convert, place
from edge_sdk.boards.probe import this_board
from edge_sdk.config.station import BrokerConfig, FusionConfig, ModelConfig, OutboxConfig, StationConfig, StreamConfig
from edge_sdk.contract.bundle import Bundle, digest_of, read_bundle
from edge_sdk.contract.events import Birth
from edge_sdk.contract.trust import Trust
from edge_sdk.fusion.base import Fuser
from edge_sdk.inference.delegates import Delegate
from edge_sdk.inference.model import Model
from edge_sdk.mqtt.transport import BrokerAddress, Tls
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.sensors.base import Sensor
from edge_sdk.sensors.keeper import Keeper
from edge_sdk.station.vitals import board_name

log = logging.getLogger(__name__)

SENSORS = "edge_sdk.sensors"
FUSERS = "edge_sdk.fusers"
ENGINES = "engines"
OUTBOX_FILE = "outbox.sqlite"
PRIORITIES = {"low": -1, "normal": 0, "high": 1}


class Assembly:
    """Builds the parts of one station.

    Attributes:
        config: What the file says.
        path: The file; relative paths in it begin at its directory.
    """

    def __init__(
        self,
        config: StationConfig,
        path: Path,
        *,
        clock: Clock,
        replacements: Mapping[str, tuple[Path, str]] | None = None,
    ) -> None:
        """Build nothing yet.

        Args:
            config: What the file says.
            path: The file.
            clock: Where time comes from.
            replacements: Bundles that stand in for those that the file names: by that path, where they are and the
                digest of what they replace; where something else is by now, that is taken.
        """
        self.config, self.path, self._clock = config, path, clock
        self._replacements = dict(replacements or {})

    def trust(self) -> Trust:
        """Whose bundles are accepted. Raises ConfigError for an unreadable key."""
        return Trust.of(self.config.trust.keys, allow_unsigned=self.config.trust.allow_unsigned)

    def bundle(self, settings: ModelConfig) -> Bundle:
        """Open one bundle, or what stands in for it. Raises BundleError."""
        instead, replaces = self._replacements.get(str(settings.bundle), (settings.bundle, ""))
        if replaces and digest_of(settings.bundle) not in {"", replaces}:
            log.warning("bundle was replaced by hand, and is taken", extra={"bundle": settings.bundle})
            instead = settings.bundle
        return read_bundle(instead, self.trust())

    def model(self, settings: ModelConfig) -> Model:
        """Open one model. Raises BundleError, BackendUnavailableError, WrongAnswerError."""
        return self.opened(self.bundle(settings), settings)

    def opened(self, bundle: Bundle, settings: ModelConfig) -> Model:
        """Open a bundle as these settings say. Raises BackendUnavailableError, WrongAnswerError."""
        return Model.open(
            bundle,
            runtime=settings.runtime,
            precision=settings.precision,
            threads=settings.threads or 1,
            delegates=[self._delegate(one) for one in settings.delegates],
            fallback_cpu=settings.fallback == "cpu",
            cache=str(self.config.state_directory / ENGINES),
            guards=settings.guards,
            order=self._order,
        )

    @cached_property
    def _order(self) -> tuple[str, ...]:
        """Runtimes that this board prefers; none where nothing but its architecture is known."""
        board = this_board()
        return tuple(runtime.name for runtime in board.runtimes) if board and board.device_tree else ()

    def _delegate(self, wanted: str | Delegate) -> str | Delegate:
        """A library that is given as a path is relative to the file; one that is a name, the system finds."""
        if isinstance(wanted, str) or "/" not in wanted.library:
            return wanted
        return msgspec.structs.replace(wanted, library=str(self.path.parent / wanted.library))

    def fuser(self, stream: str, settings: FusionConfig) -> Fuser:
        """Build one fuser. Raises ConfigError for wrong options, PluginError for an unknown name, BundleError."""
        if settings.file is not None:
            from edge_sdk.fusion.file import read_fusion

            return read_fusion(settings.file, self.trust()).open()
        fuser: Fuser = self._plugin(FUSERS, settings.method, settings.options, ["streams", stream, "fusion", "method"])
        if not (settings.temperatures or settings.dwell_s or settings.hysteresis):
            return fuser
        from edge_sdk.fusion.chain import Chain, Smoothing

        smoothing = Smoothing(dwell_s=settings.dwell_s, hysteresis=settings.hysteresis)
        return Chain(settings.method, settings.options, temperatures=settings.temperatures, smoothing=smoothing)

    def pipeline(self, stream: str, settings: StreamConfig) -> Pipeline:
        """Build one stream: open its models, find their sensors. Nothing stays open when it cannot be built."""
        with ExitStack() as opening:
            models = []
            for chosen in settings.models:
                models.append(self.model(chosen))
                opening.callback(models[-1].close)
            made = self._joined(stream, settings, models)
            opening.pop_all()
        return made

    def _joined(self, stream: str, settings: StreamConfig, models: Sequence[Model]) -> Pipeline:
        pairs = list(zip(models, settings.models, strict=True))
        sensors = {model.name: chosen.sensor or model.bundle.manifest.sensor for model, chosen in pairs}
        for index, (name, sensor) in enumerate(sensors.items()):
            if sensor not in self.config.sensors:
                raise ConfigError(
                    f"{place(self.path, ['streams', stream, 'models', str(index)])}: model {name!r} reads sensor "
                    f"{sensor!r}, and there is none of that name. Sensors are {', '.join(self.config.sensors)}; "
                    "write `sensor: NAME` beside its bundle."
                )
        self._check_fitted(stream, settings, models)
        return Pipeline(
            models,
            self.fuser(stream, settings.fusion),
            stream=stream,
            sensors=sensors,
            align=settings.align,
            tick_s=settings.tick_s,
            base=settings.base,
            tolerance_s=settings.tolerance_s,
            lateness_s=settings.lateness_s,
            late_samples_s=settings.late_samples_s,
            max_age_s={
                model.name: settings.max_age_s if chosen.max_age_s is None else chosen.max_age_s
                for model, chosen in pairs
            },
        )

    def pipelines(self) -> list[Pipeline]:
        """Build every stream."""
        with ExitStack() as opening:
            made = []
            for stream, settings in self.config.streams.items():
                made.append(self.pipeline(stream, settings))
                opening.callback(made[-1].close)
            opening.pop_all()
        return made

    def sensor(self, name: str) -> Keeper:
        """Build one sensor with its keeper; nothing is opened yet. Raises ConfigError, PluginError, SensorError."""
        settings = self.config.sensors[name]
        sensor: Sensor = self._plugin(
            SENSORS, settings.kind, settings.options, ["sensors", name, "kind"], name, clock=self._clock
        )
        try:
            return Keeper(
                sensor,
                clock=self._clock,
                channels=settings.channels,
                rate_hz=settings.rate_hz,
                stale_after_s=settings.stale_after_s,
            )
        except ConfigError as error:
            raise ConfigError(f"{place(self.path, ['sensors', name, 'channels'])}: {error}") from error

    def sensors(self) -> list[Keeper]:
        """Build every sensor."""
        return [self.sensor(name) for name in self.config.sensors]

    def check_wiring(self, sensors: Sequence[Keeper], pipelines: Sequence[Pipeline]) -> None:
        """A model must be given as many channels as it was made for. Raises ConfigError."""
        given = {sensor.name: sensor.channels for sensor in sensors}
        for pipeline in pipelines:
            chosen = self.config.streams[pipeline.stream].models
            for index, (model, settings) in enumerate(zip(pipeline.models, chosen, strict=True)):
                manifest = model.bundle.manifest
                sensor = settings.sensor or manifest.sensor
                channels = given[sensor]
                if channels and len(channels) != len(manifest.channels):
                    wanted = ", ".join(f"{channel.name} {channel.unit}".strip() for channel in manifest.channels)
                    raise ConfigError(
                        f"{place(self.path, ['streams', pipeline.stream, 'models', str(index)])}: sensor {sensor!r} "
                        f"gives {len(channels)} channels ({', '.join(channels)}), model {model.name!r} wants "
                        f"{len(manifest.channels)} ({wanted}). Name another sensor, or let this one give those "
                        "channels, in that order."
                    )

    def outbox(self) -> SqliteOutbox:
        """Open the outbox. Raises OutboxError."""
        self.config.state_directory.mkdir(parents=True, exist_ok=True)
        return SqliteOutbox.open(
            self.config.state_directory / OUTBOX_FILE,
            clock=self._clock,
            quota=outbox_quota(self.config.outbox, self.config.streams),
        )

    def birth(self, pipelines: Sequence[Pipeline], *, epoch: str, oldest: int, started_ns: int) -> Birth:
        """Who the station is and what really runs on it."""
        place = self.config.location
        return Birth(
            site=self.config.site,
            station=self.config.station,
            epoch=epoch,
            oldest=oldest,
            version=edge_sdk.__version__,
            board=board_name(),
            latitude=place.latitude if place else None,
            longitude=place.longitude if place else None,
            streams=tuple(pipeline.stream for pipeline in pipelines),
            models=tuple(model.in_use() for pipeline in pipelines for model in pipeline.models),
            commands=self.config.remote.allow,
            started=to_datetime(started_ns),
        )

    def _check_fitted(self, stream: str, settings: StreamConfig, models: Sequence[Model]) -> None:
        """A fusion file is for the models that it was fitted with. Raises ConfigError."""
        if settings.fusion.file is None:
            return
        from edge_sdk.fusion.file import read_fusion

        wanted = read_fusion(settings.fusion.file, self.trust()).contributors
        given = {model.name: model.bundle.digest for model in models}
        wrong = {
            name
            for name in wanted.keys() | given.keys()
            if name not in given or wanted.get(name, "another") not in {"", given[name]}
        }
        if wrong:
            where = place(self.path, ["streams", stream, "fusion", "file"])
            raise ConfigError(
                f"{where}: {settings.fusion.file.name} was fitted with other bundles of {', '.join(sorted(wrong))}. "
                "Name those, or fit again with `edge-sdk fuse fit`."
            )

    def _plugin(
        self, group: str, name: str, options: dict[str, Any], named_at: list[str], *args: Any, **more: Any
    ) -> Any:
        """Make a plug-in whose name stands at `named_at` and whose options stand beside it."""
        options_at = [*named_at[:-1], "options"]
        try:
            kind = plugins.load(group, name)
        except PluginError as error:
            raise PluginError(f"{place(self.path, named_at)}: {error}") from error
        given = convert(options, kind.Options, source=str(self.path), directory=self.path.parent, at=options_at)
        try:
            return kind(*args, given, **more)
        except ConfigError as error:
            raise ConfigError(f"{place(self.path, options_at)}: {error}") from error


def outbox_quota(config: OutboxConfig, streams: Mapping[str, StreamConfig]) -> Quota:
    """What the outbox may hold. Raises ConfigError for a quota that holds nothing."""
    return Quota(
        bytes=round(config.quota_mb * 1e6),
        max_age_s=config.max_age_s,
        keep_after_receipt_s=config.keep_after_receipt_s,
        on_full=config.on_full,
        keep_every=config.keep_every,
        priorities={stream: PRIORITIES[settings.priority] for stream, settings in streams.items()},
    )


def broker_addresses(config: BrokerConfig) -> list[BrokerAddress]:
    """Where the brokers are, the preferred one first. Raises ConfigError for a URL that is none."""
    return [
        BrokerAddress.parse(
            url,
            tls=Tls(ca_file=config.ca_file, certificate_file=config.certificate_file, key_file=config.key_file),
            username=config.username,
            password_file=config.password_file,
            version=config.mqtt_version,
        )
        for url in (config.url, *config.fallback_urls)
    ]
