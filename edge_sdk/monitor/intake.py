"""The intake: messages become one commit; one that no store can hold is found, put aside and counted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import StoreError
from edge_sdk.monitor.store.base import Batch, Committed, Refusal, Store
from edge_sdk.monitor.verify import HEAD_BYTES, verify_all
from edge_sdk.mqtt.transport import Message

log = logging.getLogger(__name__)


class Intake:
    """Verifies and commits. Blocking; one thread at a time.

    A store that refuses (StoreError) is the medium's fault, and the caller tries again. Anything else that is raised
    is the fault of what is to be stored, or ours: then the messages are taken apart until the one is found that
    cannot be committed. It goes to the quarantine as ``unstorable``; its neighbours are stored.

    Args:
        store: Where results go.
        clock: Gives the time of storing.
        max_payload_bytes: Longer messages go to the quarantine unread.
    """

    def __init__(self, store: Store, clock: Clock, max_payload_bytes: int) -> None:
        self._store, self._clock, self._max_payload_bytes = store, clock, max_payload_bytes

    def commit(self, messages: Sequence[Message]) -> Committed:
        """Verify and commit.

        Raises:
            StoreError: The medium refuses. Some of the messages may have been committed: committing all of them again
                does no harm.
        """
        try:
            batch = verify_all(messages, max_payload_bytes=self._max_payload_bytes)
            return self._store.commit(batch, now_ns=self._clock.wall_ns())
        except StoreError:
            raise
        except Exception as error:
            if len(messages) == 1:
                log.exception("message cannot be stored", extra={"topic": messages[0].topic})
                return self._store.commit(_refused(messages[0], error), now_ns=self._clock.wall_ns())
            log.warning("batch cannot be stored: taken apart", extra={"messages": len(messages), "reason": str(error)})
        middle = len(messages) // 2
        done = self.commit(messages[:middle])
        done.merge(self.commit(messages[middle:]))
        return done


def _refused(message: Message, error: Exception) -> Batch:
    said = f"{type(error).__name__}: {error}"[:HEAD_BYTES]
    refusal = Refusal("unstorable", message.topic[:HEAD_BYTES], bytes(message.payload[:HEAD_BYTES]), said)
    return Batch(messages=1, refusals=[refusal])
