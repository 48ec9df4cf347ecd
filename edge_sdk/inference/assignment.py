"""Assignment: which execution provider of ONNX Runtime got how many nodes, read back from the session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge_sdk.contract.manifest import Coverage

RECORD = "session.record_ep_graph_assignment_info"


def recorded(session: Any) -> Counter[str]:
    """Nodes by provider, from a session that was made with `RECORD`; empty where this version does not say it."""
    ask = getattr(session, "get_provider_graph_assignment_info", None)  # since ONNX Runtime 1.24
    nodes: Counter[str] = Counter()
    for part in ask() if ask else ():
        nodes[part.ep_name] += len(part.get_nodes())
    return nodes


def profiled(profile: Path) -> Counter[str]:
    """Nodes by provider, from the profile of one call; a fused part counts as one."""
    nodes: dict[str, str] = {}
    for event in msgspec.json.decode(profile.read_bytes()):
        if event.get("cat") == "Node" and (provider := event.get("args", {}).get("provider")):
            nodes[event["name"]] = provider
    return Counter(nodes.values())


def coverage(nodes: Mapping[str, int], order: Sequence[str]) -> tuple[Coverage, ...]:
    """The share of each provider, in the order of preference."""
    total = sum(nodes.values())
    return tuple(
        Coverage(delegate=name, share_of_operations=nodes[name] / total, checked_by="run")
        for name in [*order, *sorted(nodes.keys() - set(order))]
        if nodes.get(name)
    )
