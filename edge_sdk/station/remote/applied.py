"""The configuration with what was changed from afar."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import CommandError
from edge_sdk.base.yaml import convert, read_plain
from edge_sdk.config.station import StationConfig, check_station, read_station
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.credentials import with_credentials
from edge_sdk.station.remote.slots import Change, Slots, base_of, merged

log = logging.getLogger(__name__)

FIXED = ("site", "station", "state_directory", "outbox", "trust", "remote")
"""What nobody changes from afar: who the station is, where its results are, whom it believes, what it allows."""


class Applied:
    """Makes assemblies from one file and what was changed from afar.

    Args:
        path: ``station.yaml``.
        slots: What was changed.
        clock: Where time comes from.
        credentials: Directory of secrets that systemd hands on; empty = none.
    """

    def __init__(self, path: Path, slots: Slots, *, clock: Clock, credentials: str = "") -> None:
        self.path, self.slots = path, slots
        self._clock, self._credentials = clock, credentials

    def assembly(self, change: Change | None) -> Assembly:
        """The assembly with a change, or with none; a change that was made for another file is void.

        Raises:
            ConfigError: The configuration says what cannot be.
        """
        if change is not None and change.base != base_of(self.path):
            log.warning("configuration was changed by hand: what was changed from afar is void")
            change = None
        if change is None:
            return Assembly(self._with_credentials(read_station(self.path)), self.path, clock=self._clock)
        config = self._patched(change.patches)
        replacements = {
            path: (self.slots.bundle(replacement), replacement.replaces) for path, replacement in change.bundles.items()
        }
        return Assembly(self._with_credentials(config), self.path, clock=self._clock, replacements=replacements)

    def _patched(self, patches: Sequence[dict[str, Any]]) -> StationConfig:
        data = read_plain(self.path)
        for patch in patches:
            data = merged(data, patch)
        config = convert(data, StationConfig, source=str(self.path), directory=self.path.parent)
        check_station(self.path, config)
        return config

    def _with_credentials(self, config: StationConfig) -> StationConfig:
        return with_credentials(config, self._credentials)


def check_patch(patch: dict[str, Any]) -> None:
    """Raise CommandError when a patch touches what nobody changes from afar."""
    if touched := sorted(patch.keys() & set(FIXED)):
        raise CommandError(
            f"{', '.join(touched)} cannot be changed from afar. Change the file on the station.", reason="fixed"
        )
