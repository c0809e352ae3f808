"""The face of the client: a thread that sends, and whoever emits."""

from __future__ import annotations

import enum
import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ._answer import Why
from ._errors import EmitterClosed
from ._event import EVENT_BYTES_MAX, EventId, prepare
from ._http import Vault
from ._sender import Counts, Sender
from ._spool import SEGMENT_BYTES, Spool, encode

BATCH_BYTES_MAX = 16 << 20
_log = logging.getLogger("chancery_client")


class State(enum.Enum):
    """How the sender fares."""

    RUNNING = "running"
    """It sends, or has nothing to send."""
    WAITING = "waiting"
    """The vault could not be reached, or asked to wait."""
    PARKED = "parked"
    """The vault refuses this token, source or address: somebody must act, then `resume`."""
    FAILED = "failed"
    """The disk failed under the ledgers: open the spool again."""
    CLOSED = "closed"
    """It has ended."""


@dataclass(frozen=True)
class Stats:
    """What an emitter has done, and how it fares."""

    state: State
    why: Why | None
    """Why it does not go on, where it does not: HTTP status, code, clause."""
    emitted: int
    """Events taken since the spool was opened; so are the counts."""
    counts: Counts
    waiting_bytes: int
    """Bytes of events that wait."""
    torn_bytes: int
    """Bytes of a frame that a crash cut short: its `emit` never returned."""
    cursor_lost: bool
    """There were events and no cursor that can be read: they were sent again."""


class Emitter:
    """A durable spooling emitter.

    `url` is the vault's address (`https://vault.example:8843`), `ca_file` the certificates it must
    lead to (the system's without it). One process has a spool open at a time. Methods may be called
    from any thread, but not in a process forked from the one that made the emitter.
    """

    def __init__(
        self,
        url: str,
        token: str,
        source: str,
        spool_dir: str | os.PathLike[str],
        ca_file: str | os.PathLike[str] | None = None,
        max_spool_bytes: int = 1 << 30,
        batch_events: int = 500,
        batch_bytes: int = 4 << 20,
        timeout: float = 60.0,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._vault = Vault(url, token, source, ca_file, timeout)
        self._spool = Spool(spool_dir, source, max_spool_bytes, segment_bytes)
        most = min(max(batch_bytes, EVENT_BYTES_MAX + 1), BATCH_BYTES_MAX)
        self._sender = Sender(self._spool, self._vault, min(max(1, batch_events), 10_000), most)
        self._pid = os.getpid()
        self._changed = self._spool.changed
        self._state, self._why = State.RUNNING, None
        self._told = Counts()
        self._emitted = 0
        self._closing = self._kicked = False
        self._thread = threading.Thread(target=self._run, name="chancery-emitter", daemon=True)
        self._thread.start()

    def __enter__(self) -> Emitter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def emit(self, event: dict[str, Any]) -> EventId:
        """Takes one event and returns its id: when this returns the event is on the disk, synced,
        and will be sent. Raises `InvalidEvent`, `SpoolFull` or `SpoolFailed`: then it was not
        taken.
        """
        return self.emit_many([event])[0]

    def emit_many(self, events: Iterable[dict[str, Any]]) -> list[EventId]:
        """Takes several events with one sync: all of them, or none."""
        self._must_be_open()
        ready = [prepare(event) for event in events]
        if ready:
            self._spool.append(b"".join(encode(line) for _, line in ready))
            with self._changed:
                self._emitted += len(ready)
        return [name for name, _ in ready]

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until everything emitted before this call has a receipt, or a refusal that names
        it. False after `timeout` seconds, or as soon as the sender cannot go on: `stats` says why.
        """
        self._must_be_open()
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            end = self._spool.end
            while self._spool.settled < end:
                left = None if until is None else until - time.monotonic()
                ended = self._state not in (State.RUNNING, State.WAITING)
                if ended or (left is not None and left <= 0):
                    return False
                self._changed.wait(left)
        return True

    def resume(self, token: str | None = None) -> None:
        """Tries now, whatever the sender waits for; with another token, if one is given."""
        self._must_be_open()
        if token is not None:
            self._vault.set_token(token)
        with self._changed:
            if self._state in (State.PARKED, State.WAITING):
                self._state, self._kicked = State.RUNNING, True
                self._changed.notify_all()

    def stats(self) -> Stats:
        """What was done, and how it fares."""
        with self._changed:
            return Stats(
                state=self._state,
                why=self._why,
                emitted=self._emitted,
                counts=replace(self._sender.counts),
                waiting_bytes=self._spool.end - self._spool.settled,
                torn_bytes=self._spool.torn_bytes,
                cursor_lost=self._spool.cursor_lost,
            )

    def close(self) -> None:
        """Ends the sender after the request at hand. What waits stays in the spool and is sent by
        the next emitter that opens it; `flush` first to see it sent.
        """
        if os.getpid() != self._pid:
            return
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._vault.close()
        self._spool.close()

    def _must_be_open(self) -> None:
        if os.getpid() != self._pid:
            raise EmitterClosed("this process was forked; make an emitter of its own")
        if self._closing:
            raise EmitterClosed("this emitter was closed")

    # The sender's thread.

    def _run(self) -> None:
        last = State.FAILED
        try:
            self._loop()
            last = State.CLOSED
        except OSError as error:
            clause = f"{type(error).__name__}: errno {error.errno}"
            self._say(State.FAILED, Why(0, "SPOOL_FAILED", clause))
        except Exception as error:  # A bug of ours must not look like an empty spool.
            self._say(State.FAILED, Why(0, "SPOOL_FAILED", type(error).__name__))
        finally:
            with self._changed:
                self._state = last
                self._changed.notify_all()

    def _loop(self) -> None:
        while True:
            step = self._sender.step()
            state = {"wait": State.WAITING, "park": State.PARKED}.get(step.kind, State.RUNNING)
            self._say(state, step.why)
            with self._changed:
                if step.kind == "idle":
                    self._changed.wait_for(lambda: self._closing or self._spool.waits())
                elif step.kind == "wait":
                    self._changed.wait_for(lambda: self._closing or self._kicked, step.seconds)
                elif step.kind == "park":
                    self._changed.wait_for(lambda: self._closing or self._kicked)
                self._kicked = False
                if self._closing:
                    return

    def _say(self, state: State, why: Why | None) -> None:
        with self._changed:
            is_news = (state, why) != (self._state, self._why)
            refused = self._sender.counts.dead - self._told.dead
            damaged = self._sender.counts.damaged - self._told.damaged
            self._state, self._why = state, why
            self._told = replace(self._sender.counts)
            self._changed.notify_all()
        if is_news and why is not None:
            _log.warning("sender %s: status %d %s", state.value, why.status, why.code)
        if refused:
            _log.warning("%d events refused for good; see dead.ndjson", refused)
        if damaged:
            _log.warning("%d damaged places in the spool; see dead.ndjson", damaged)
