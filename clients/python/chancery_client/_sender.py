"""One batch at a time, step by step: read it, send what is open of it, settle it. A step is one
request at most and never waits.

It never sends an event behind one that is open, but within a batch: what the vault refuses for the
moment is sent again alone, and what stood behind it may be durable before it.
"""

from __future__ import annotations

import base64
import errno
import json
import random
from dataclasses import dataclass, field
from typing import Any, Protocol

from ._answer import RETRY_SECONDS_MAX, Fate, Why, judge
from ._http import NoAnswer
from ._spool import Batch, Item, Junk, Spool

WAIT_SECONDS = 0.1
WAIT_SECONDS_MAX = 30.0


class Receiver(Protocol):
    """A way to the vault."""

    def post(self, body: bytes) -> tuple[int, int | None, bytes]: ...


@dataclass
class Counts:
    """Counts since the emitter was opened."""

    receipts: int = 0
    duplicates: int = 0
    dead: int = 0
    damaged: int = 0
    requests: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Step:
    """What a step came to: `kind` is idle, went, wait or park."""

    kind: str
    seconds: float = 0.0
    why: Why | None = None


WENT = Step("went")


@dataclass
class _Work:
    batch: Batch
    fates: list[Fate | None]
    most: int
    tops: list[dict[str, Any]] = field(default_factory=list)

    def open(self) -> list[int]:
        return [at for at, fate in enumerate(self.fates) if fate is None]


class Sender:
    """Takes the steps."""

    def __init__(
        self, spool: Spool, receiver: Receiver, batch_events: int, batch_bytes: int
    ) -> None:
        self._spool, self._receiver = spool, receiver
        self._limits = (batch_events, batch_bytes)
        self._work: _Work | None = None
        self._failures = 0
        self.counts = Counts()

    def step(self) -> Step:
        """One step. An `OSError` is the disk's: no step may follow."""
        if self._work is None:
            batch = self._spool.read(*self._limits)
            if batch is None:
                return Step("idle")
            self._work = _Work(batch, [None] * len(batch.items), len(batch.items))
        work = self._work
        step = self._send(work) if work.open() else None
        if step is not None:
            return step
        try:
            self._settle(work)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return self._wait(None, Why(0, "SPOOL_FULL", "no room for receipts; free space"))
        self._work = None
        return WENT

    def _send(self, work: _Work) -> Step | None:
        sent = work.open()[: max(1, work.most)]
        body = b"".join(work.batch.items[at].line + b"\n" for at in sent)
        self.counts.requests += 1
        try:
            status, retry, answer = self._receiver.post(body)
        except NoAnswer as why:
            # One event next: a refusal that comes before a long body is read may be lost with the
            # connection, and then nobody would learn of it.
            work.most = 1
            return self._wait(None, Why(0, "UNREACHABLE", str(why)))
        verdict = judge(status, answer, len(sent))
        if verdict.kind == "fates":
            return self._take(work, sent, verdict.fates, verdict.top, retry)
        if verdict.kind == "halve" and len(sent) > 1:
            work.most = len(sent) // 2
            return WENT
        if verdict.kind == "park":
            return self._park(verdict.why)
        return self._wait(retry, verdict.why)

    def _take(
        self,
        work: _Work,
        sent: list[int],
        fates: list[Fate],
        top: dict[str, Any],
        retry: int | None,
    ) -> Step | None:
        again, parked, went = None, None, False
        for at, fate in zip(sent, fates):
            if fate.kind in ("receipt", "dead"):
                work.fates[at] = fate
                went = True
            elif fate.kind == "again":
                again = fate.why
            else:
                parked = fate.why
        if went:
            self._failures = 0
            work.most = len(work.fates)
            if top:
                work.tops.append(top)
        if parked is not None:
            return self._park(parked)
        if again is not None:
            return self._wait(retry, again)
        return WENT if work.open() else None

    def _settle(self, work: _Work) -> None:
        """Everything of the batch has its fate."""
        receipts, dead = [], [_junk_line(junk) for junk in work.batch.junk]
        duplicates = 0
        for item, fate in zip(work.batch.items, work.fates):
            if fate is not None and fate.receipt is not None:
                receipts.append(_line({**fate.receipt, "id": item.id}))
                duplicates += fate.receipt.get("duplicate") is True
            elif fate is not None and fate.why is not None:
                dead.append(_dead_line(item, fate.why))
        tops = [_line(top) for top in work.tops]

        def count() -> None:
            self.counts.receipts += len(receipts)
            self.counts.duplicates += duplicates
            self.counts.dead += len(dead) - len(work.batch.junk)
            self.counts.damaged += len(work.batch.junk)

        lines = b"".join(receipts + tops)
        self._spool.settle(work.batch.next, lines, b"".join(dead), count)

    def _park(self, why: Why | None) -> Step:
        self.counts.failures += 1
        return Step("park", why=why)

    def _wait(self, asked: int | None, why: Why | None) -> Step:
        """Half of the wait is by chance, so that emitters do not come back all at once."""
        self.counts.failures += 1
        most = min(WAIT_SECONDS * 2**self._failures, WAIT_SECONDS_MAX)
        self._failures = min(self._failures + 1, 20)
        chance = random.uniform(0, most / 2)
        if asked:
            asked = min(asked, RETRY_SECONDS_MAX)
            return Step("wait", asked + min(chance, asked / 10), why)
        return Step("wait", most / 2 + chance, why)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _dead_line(item: Item, why: Why) -> bytes:
    """The event itself goes along, so that it can be mended and sent again: but not one that was
    erased at the vault, of which no copy may stay.
    """
    event = None if why.code == "DUPLICATE_OF_ERASED" else item.line.decode("utf-8", "replace")
    return _line(
        {
            "id": item.id,
            "position": str(item.position),
            "status": why.status,
            "code": why.code,
            "detail": why.detail,
            "event": event,
        }
    )


def _junk_line(junk: Junk) -> bytes:
    return _line(
        {
            "position": str(junk.position),
            "code": "FRAME_DAMAGED",
            "bytes": base64.b64encode(junk.data).decode(),
            "missing": str(junk.missing),
        }
    )
