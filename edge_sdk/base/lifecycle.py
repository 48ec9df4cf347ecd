"""Services: opened in order, run together under names, closed in reverse."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import anyio

if TYPE_CHECKING:
    from typing_extensions import Self


class Service(Protocol):
    """Something that is opened, runs until cancelled, and is closed."""

    name: str

    async def __aenter__(self) -> Self:
        """Open what it needs; raise when that cannot be had."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; must not raise."""

    async def run(self) -> None:
        """Work until cancelled."""


async def run_services(services: Iterable[Service]) -> None:
    """Run all until one fails or we are cancelled; close in reverse order of opening."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(service) for service in services]
        async with anyio.create_task_group() as group:
            for service in opened:
                group.start_soon(service.run, name=service.name)
