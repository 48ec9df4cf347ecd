"""Changes from afar: a configuration is patched, a bundle is installed. One at a time, each tried before it is kept."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import anyio.to_thread
import msgspec
from msgspec import Meta

from edge_sdk.base.clock import to_datetime
from edge_sdk.base.errors import CommandError, EdgeError
from edge_sdk.config.station import ModelConfig
from edge_sdk.contract.bundle import Bundle, digest_of, read_bundle
from edge_sdk.inference.model import Model
from edge_sdk.station.remote.applied import Applied, check_patch
from edge_sdk.station.remote.canary import Canary
from edge_sdk.station.remote.commander import Voice
from edge_sdk.station.remote.slots import Change, Replacement, base_of
from edge_sdk.station.remote.trial import Trial
from edge_sdk.station.remote.uploads import Uploads, check_digest

if TYPE_CHECKING:
    from edge_sdk.station.station import Station

log = logging.getLogger(__name__)

_RESUMED_WITHIN_S = 60.0

Within = Annotated[float, Meta(ge=1, le=3600)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ConfigSet(_Strict, frozen=True, kw_only=True):
    """What ``config-set`` takes.

    Attributes:
        patch: JSON merge patch (RFC 7396) on ``station.yaml``: null removes a field.
        healthy_within_s: The station must be well again within that time, or the change is taken back.
    """

    patch: dict[str, Any]
    healthy_within_s: Within = 30.0


class BundleChunk(_Strict, frozen=True, kw_only=True):
    """What ``bundle-chunk`` takes: one piece of 64 KiB, the last one shorter.

    Attributes:
        upload: Name of the upload.
        index: Number of the piece, from 0.
        of: How many there are.
        data: The piece, in base64.
    """

    upload: str
    index: int
    of: Annotated[int, Meta(ge=1)]
    data: str


class BundleInstall(_Strict, frozen=True, kw_only=True):
    """What ``bundle-install`` takes.

    Attributes:
        sha256: Of the file.
        upload: Name of the upload that brought it, or of the one that the URL is fetched to.
        url: Where to fetch it; empty = it was uploaded.
        canary_s: How long it works beside the one in use, unheard.
        least_agreement: Share of windows on which both must agree (classification), 0 to 1.
        healthy_within_s: The station must be well again within that time, or it is taken back.
    """

    sha256: str
    upload: str
    url: str = ""
    canary_s: Annotated[float, Meta(ge=0, le=86_400)] = 120.0
    least_agreement: Annotated[float, Meta(ge=0, le=1)] = 0.0
    healthy_within_s: Within = 60.0


class Changes:
    """Makes changes of one station.

    Args:
        station: The station.
        applied: What is changed.
        uploads: Bundles on their way in.
    """

    def __init__(self, station: Station, applied: Applied, uploads: Uploads) -> None:
        self._station, self._applied, self._uploads = station, applied, uploads
        self._trial = Trial(station, applied.slots)
        self._is_busy = False

    async def config_set(self, arguments: ConfigSet, voice: Voice) -> dict[str, Any]:
        """Patch the configuration."""
        check_patch(arguments.patch)
        change = self._now(voice.id)
        change = msgspec.structs.replace(change, patches=(*change.patches, arguments.patch))

        async def work() -> None:
            self._applied.assembly(change)  # what cannot be is said before anything is tried
            await self._try(change, arguments.healthy_within_s, voice)

        await self._one_at_a_time(work)
        return {"patches": list(change.patches)}

    async def bundle_chunk(self, arguments: BundleChunk, voice: Voice) -> dict[str, Any]:
        """Take one piece of a bundle."""
        missing = await anyio.to_thread.run_sync(
            self._uploads.put, arguments.upload, arguments.index, arguments.of, arguments.data
        )
        return {"missing": missing}

    async def bundle_install(self, arguments: BundleInstall, voice: Voice) -> dict[str, Any]:
        """Verify a bundle, let it work beside the old one, swap, watch."""
        result: dict[str, Any] = {}
        try:
            await self._one_at_a_time(lambda: self._install(arguments, voice, result))
        finally:
            self._uploads.drop(arguments.upload)
        return result

    async def resume(self) -> None:
        """Go on judging a change with which the program was started."""
        following = self._applied.slots.following
        if following is None:
            return

        async def judge() -> None:
            try:
                await self._trial.resume(within_s=_RESUMED_WITHIN_S)
            except CommandError as error:
                self._station.notice("remote.refused", str(error), {"by": following.by})
            else:
                self._station.notice("remote.kept", f"The change by {following.by} is kept.", {"by": following.by})

        await self._one_at_a_time(judge)

    async def _install(self, arguments: BundleInstall, voice: Voice, result: dict[str, Any]) -> None:
        slots = self._applied.slots
        path = await self._arrived(arguments, voice)
        bundle = await anyio.to_thread.run_sync(read_bundle, path, self._station.works.assembly.trust())
        running, chosen = self._target(bundle)
        model = await anyio.to_thread.run_sync(self._opened, bundle, chosen)
        result |= {"model": running.name, "from": running.bundle.digest, "to": bundle.digest}
        sensor = chosen.sensor or bundle.manifest.sensor
        canary = Canary(model, sensor, clock=self._station.clock)
        try:
            if arguments.canary_s:
                voice.begun(f"It is sound, and works beside {running.name} for {arguments.canary_s:g} s.")
                await self._station.with_canary(canary, arguments.canary_s)
                result["canary"] = canary.report()
                if ills := canary.ills(least_agreement=arguments.least_agreement):
                    raise CommandError(f"As a canary {'; '.join(ills)}.", reason="canary", tried=True)
        finally:
            await anyio.to_thread.run_sync(canary.close)
        kept = await anyio.to_thread.run_sync(slots.keep, path, bundle.digest)
        change = self._now(voice.id)
        configured = str(chosen.bundle)
        replacement = Replacement(file=kept, digest=bundle.digest, replaces=digest_of(chosen.bundle))
        change = msgspec.structs.replace(change, bundles={**change.bundles, configured: replacement})
        await self._try(change, arguments.healthy_within_s, voice)

    async def _arrived(self, arguments: BundleInstall, voice: Voice) -> Path:
        if arguments.url:
            voice.begun(f"It is fetched from {arguments.url}.")
            allowed = self._station.works.assembly.config.remote.fetch_from

            def fetch() -> Path:
                return self._uploads.fetch(arguments.url, arguments.upload, allowed=allowed)

            path = await anyio.to_thread.run_sync(fetch)
        else:
            path = self._uploads.whole(arguments.upload)
        await anyio.to_thread.run_sync(check_digest, path, arguments.sha256)
        return path

    def _target(self, bundle: Bundle) -> tuple[Model, ModelConfig]:
        """The model of the same name that runs now, and what the configuration says of it."""
        assembly = self._station.works.assembly
        name, release = bundle.manifest.name, bundle.manifest.release
        running = {
            model.name: (model, chosen)
            for stream in self._station.works.streams
            for model, chosen in zip(
                stream.pipeline.models, assembly.config.streams[stream.pipeline.stream].models, strict=True
            )
        }
        if name not in running:
            known = ", ".join(sorted(running))
            raise CommandError(
                f"No model {name!r} runs here to be replaced; there are {known}.", reason="unknown_model"
            )
        model, chosen = running[name]
        now = model.bundle.manifest.release
        if release < now and not assembly.config.remote.allow_downgrade:
            raise CommandError(
                f"It is release {release}, and release {now} runs. Write `allow_downgrade: true` under `remote:` on "
                "the station if that is what you want.",
                reason="downgrade",
            )
        return model, chosen

    def _opened(self, bundle: Bundle, chosen: ModelConfig) -> Model:
        """Open it as the configuration says; its recorded answers are compared."""
        return self._station.works.assembly.opened(bundle, chosen)

    async def _try(self, change: Change, within_s: float, voice: Voice) -> None:
        voice.begun(f"It is in use now, and must be well within {within_s:g} s.")
        await self._trial.run(change, within_s=within_s)

    def _now(self, by: str) -> Change:
        """The present change, to be changed further; void ones are left behind."""
        present, base = self._applied.slots.present, base_of(self._applied.path)
        made = to_datetime(self._station.clock.wall_ns())
        if present is None or present.base != base:
            return Change(by=by, made=made, base=base)
        return msgspec.structs.replace(present, by=by, made=made, starts=0)

    async def _one_at_a_time(self, work: Callable[[], Awaitable[None]]) -> None:
        if self._is_busy:
            raise CommandError("Another change is being tried. Wait for its answer.", reason="busy")
        self._is_busy = True
        try:
            await work()
        except EdgeError as error:
            if isinstance(error, CommandError):
                raise
            raise CommandError(str(error), reason="invalid") from error
        finally:
            self._is_busy = False
