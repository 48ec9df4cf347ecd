"""Bundles in the field: which model runs where, in which version, on which backend."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from edge_sdk.contract.events import Birth


class BundleInField(msgspec.Struct, frozen=True, kw_only=True):
    """One model as it runs on some stations: the same bundle, variant and backend.

    Attributes:
        model: The model's name.
        bundle: Digest of the bundle.
        variant: File of the variant that runs.
        backend: Runtime and delegates really in use.
        fallback: What was asked for and is not in use; empty when all is as asked.
        software: Versions of the stations' software, with how many stations have each.
        stations: How many stations run it.
        silent: How many of those are not online now.
        examples: Some of them, as ``site/station``.
    """

    model: str
    bundle: str
    variant: str
    backend: str
    fallback: str
    software: dict[str, int]
    stations: int
    silent: int
    examples: list[str]


EXAMPLES = 20


def bundles(births: Iterable[tuple[str, bool, bytes]]) -> list[BundleInField]:
    """Count what runs, the most frequent first.

    Args:
        births: ``site/station``, whether it is online, and what it said when it was born, as JSON.
    """
    decoder = msgspec.json.Decoder(Birth)
    found: dict[tuple[str, str, str, str, str], tuple[dict[str, int], list[bool], list[str]]] = {}
    for place, is_online, raw in births:
        birth = decoder.decode(raw)
        for model in birth.models:
            backend = " + ".join((model.runtime, *model.delegates))
            key = (model.name, model.bundle, model.variant, backend, model.fallback)
            software, online, places = found.setdefault(key, ({}, [], []))
            software[birth.version] = software.get(birth.version, 0) + 1
            online.append(is_online)
            if len(places) < EXAMPLES:
                places.append(place)
    rows = [
        BundleInField(
            model=key[0], bundle=key[1], variant=key[2], backend=key[3], fallback=key[4], software=software,
            stations=len(online), silent=online.count(False), examples=places,
        )
        for key, (software, online, places) in found.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (-row.stations, row.model, row.bundle, row.backend))
