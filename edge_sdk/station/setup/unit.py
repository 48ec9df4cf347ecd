"""The unit: what systemd is told of a station, hardened; text from a configuration, nothing is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.base.errors import ConfigError
from edge_sdk.config.station import StationConfig

STATE_ROOT = Path("/var/lib")
# Groups that Debian gives the devices of these kinds of sensors to.
GROUPS = {
    "camera": ("video",),
    "circuitpython": ("gpio", "i2c", "spi"),
    "microphone": ("audio",),
    "modbus": ("dialout",),
    "nmea": ("dialout",),
    "pms5003": ("dialout",),
    "sds011": ("dialout",),
    "serial_csv": ("dialout",),
    "serial_json": ("dialout",),
}
# Sensors of these kinds write to /sys: buffers, triggers and rates are set there.
_WRITES_TO_SYS = {"iio", "iio_buffer"}
_HIDDEN = {"home", "root", "tmp"}
_EXIT_CODES_NOT_TO_RESTART_ON = "65 77 78"


@dataclass(frozen=True, slots=True)
class Service:
    """A station as a service.

    Attributes:
        config_file: Absolute path of ``station.yaml``.
        config: What it says.
        program: Absolute path of ``edge-sdk``.
        user: Who it runs as.
        memory_mb: What it may use, 10⁶ bytes; beyond it the kernel ends it, and it starts anew.
        watchdog_s: It is ended and started anew when work has not gone on for so long.
        stop_s: How long an orderly stop may take.
    """

    config_file: Path
    config: StationConfig
    program: Path
    user: str = "edge"
    memory_mb: int = 256
    watchdog_s: int = 60
    stop_s: int = 30

    def __post_init__(self) -> None:
        state = self.config.state_directory
        if not state.is_absolute() or STATE_ROOT not in state.parents:
            raise ConfigError(
                f"{self.config_file}: state_directory is {state}; of a service it is below {STATE_ROOT}, which systemd "
                f"makes and gives to its user. Write: state_directory: {STATE_ROOT}/edge-sdk"
            )
        for path in (self.config_file, *self._files()):
            if set(path.parts[1:2]) & _HIDDEN:
                raise ConfigError(
                    f"{path} is in a place that a service cannot see ({', '.join(sorted(_HIDDEN))}). "
                    "Put the configuration and what it names into /etc/edge-sdk."
                )

    def _files(self) -> Iterator[Path]:
        """What the configuration names and the service must read."""
        yield from self.config.trust.keys
        for stream in self.config.streams.values():
            yield from (model.bundle for model in stream.models)

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups that its sensors' devices belong to."""
        kinds = {sensor.kind for sensor in self.config.sensors.values()}
        return tuple(sorted({group for kind in kinds for group in GROUPS.get(kind, ())}))

    def users(self) -> str:
        """What ``systemd-sysusers`` is told (sysusers.d(5))."""
        home = self.config.state_directory
        lines = [f'u {self.user} - "Edge SDK station" {home}', *(f"m {self.user} {group}" for group in self.groups)]
        return "\n".join(lines) + "\n"

    def unit(self) -> str:
        """What systemd is told (systemd.exec(5))."""
        return "\n".join([*self._what(), "", "[Service]", *self._runs(), *self._hardening(), "", *self._install(), ""])

    def _what(self) -> Iterator[str]:
        config = self.config
        yield "# Written by `edge-sdk station install`; change it with `systemctl edit`, and it stays."
        yield "[Unit]"
        yield f"Description=Edge SDK station {config.site}/{config.station}"
        yield "Wants=network-online.target"
        yield "After=network-online.target time-sync.target"
        yield "# On a roof nobody resets a failed unit: try for ever."
        yield "StartLimitIntervalSec=0"

    def _runs(self) -> Iterator[str]:
        state = self.config.state_directory.relative_to(STATE_ROOT)
        yield "Type=notify"
        yield "NotifyAccess=main"
        yield f"ExecStart={self.program} station run {self.config_file}"
        yield "ExecReload=/bin/kill -HUP $MAINPID"
        yield f"User={self.user}"
        if self.groups:
            yield f"SupplementaryGroups={' '.join(self.groups)}"
        yield f"StateDirectory={state}"
        yield "StateDirectoryMode=0750"
        yield f"WorkingDirectory={self.config.state_directory}"
        for name, path in self._secrets():
            yield f"LoadCredential={name}:{path}"
        yield "Restart=always"
        yield "RestartSec=5"
        yield "# A bundle or the configuration is wrong: starting again would not help."
        yield f"RestartPreventExitStatus={_EXIT_CODES_NOT_TO_RESTART_ON}"
        yield f"WatchdogSec={self.watchdog_s}"
        yield "TimeoutStartSec=180"
        yield f"TimeoutStopSec={self.stop_s}"
        yield "KillMode=mixed"
        yield f"MemoryMax={self.memory_mb}M"
        yield "TasksMax=256"
        yield "LimitNOFILE=4096"

    def _secrets(self) -> Iterator[tuple[str, Path]]:
        """Files that root alone needs to read: systemd hands them on."""
        broker = self.config.broker
        for name, path in (("broker.password_file", broker.password_file), ("broker.key_file", broker.key_file)):
            if path is not None:
                yield name, path

    def _hardening(self) -> Iterator[str]:
        writes_to_sys = any(sensor.kind in _WRITES_TO_SYS for sensor in self.config.sensors.values())
        yield "CapabilityBoundingSet="
        yield "LockPersonality=yes"
        yield "NoNewPrivileges=yes"
        yield "PrivateTmp=yes"
        yield "ProtectControlGroups=yes"
        yield "ProtectHome=yes"
        yield "ProtectHostname=yes"
        yield "ProtectKernelLogs=yes"
        yield "ProtectKernelModules=yes"
        yield f"ProtectKernelTunables={'no' if writes_to_sys else 'yes'}"
        yield "ProtectProc=invisible"
        yield "ProtectSystem=strict"
        yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"
        yield "RestrictNamespaces=yes"
        yield "RestrictSUIDSGID=yes"
        yield "SystemCallArchitectures=native"
        yield "SystemCallErrorNumber=EPERM"
        yield "# adjtimex tells whether the clock is set; without CAP_SYS_TIME it can set nothing."
        yield "SystemCallFilter=@system-service adjtimex clock_adjtime"
        yield "UMask=0027"

    def _install(self) -> Iterator[str]:
        yield "[Install]"
        yield "WantedBy=multi-user.target"
