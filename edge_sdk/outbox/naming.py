"""Naming: which epochs number an outbox's rows; what was given is written down before it is used."""

from __future__ import annotations

import logging
from pathlib import Path

from edge_sdk.base.errors import OutboxError, OutboxFullError
from edge_sdk.outbox.epochs import Epoch, Epochs
from edge_sdk.outbox.identity import RESERVE, Identity, write_identity
from edge_sdk.outbox.ledger import Ledger
from edge_sdk.outbox.sqlite_file import is_full
from edge_sdk.outbox.witness import Witness
from edge_sdk.outbox.writer import Writer

log = logging.getLogger(__name__)


class Naming:
    """Chooses the epoch of one outbox and keeps its identity; not safe for several threads.

    Args:
        path: The outbox.
        identity: What is written down.
        writer: Writes the outbox's file.
        ledger: What it holds; read here, never changed.

    Attributes:
        epochs: The one that goes on, and those that numbered older rows.
    """

    def __init__(self, path: Path, identity: Identity, writer: Writer, ledger: Ledger) -> None:
        self.epochs = Epochs(identity.epochs)
        self._path, self._identity, self._writer, self._ledger = path, identity, writer, ledger
        self._witness = Witness(path)
        self._told: set[str] = set()

    def choose(self) -> bool:
        """Go on with the last epoch when there is a witness that nobody else can have numbered rows in it since.

        Returns:
            Whether it goes on; otherwise one begins, which `reserve` has to write down.
        """
        newest, last = self._ledger.newest, self.epochs.current
        if self._witness.speaks_for(last.id, newest):
            self._witness.swear_in(last.id, newest)
            return True
        self.epochs = self.epochs.renewed(newest, self._ledger.lowest() or newest + 1)
        if self._identity.reserved:
            log.info("outbox begins an epoch", extra={"epoch": self.epochs.current.id, "former": last.id})
        else:
            log.info("outbox is new", extra={"epoch": self.epochs.current.id})
        return False

    def reserve(self, newest: int) -> None:
        """See that the identity says that numbers up to `newest` may have been given, and in which epochs.

        Raises:
            OutboxFullError: The disk is full.
            OutboxError: The medium refuses.
        """
        epochs = self.epochs.beginnings
        if newest <= self._identity.reserved and epochs == self._identity.epochs:
            return
        identity = Identity(epochs, max(newest + RESERVE, self._identity.reserved))
        try:
            write_identity(self._path, identity)
        except OSError as error:
            kind = OutboxFullError if is_full(error) else OutboxError
            raise kind(f"The identity of outbox {self._path} cannot be written: {error}.") from error
        if epochs != self._identity.epochs:
            self._writer.tell_epochs(epochs)
            self._witness.swear_in(self.epochs.current.id, self._ledger.newest)
        self._identity = identity

    def told(self, epoch: Epoch) -> None:
        """The monitor knows that nothing more comes of a former epoch; `reserve` writes down that it is forgotten."""
        self._told.add(epoch.id)
        self.epochs = self.epochs.without(self._told)

    def gave(self, newest: int) -> None:
        """Numbers up to `newest` were given."""
        self._witness.saw(newest)

    def close(self) -> None:
        """Let go of the witness; what it remembers stays."""
        self._witness.close()
