"""The spool: frames of events in files, a cursor, two ledgers. The bytes are those of
`clients/SPOOL.md`; the Rust client reads and writes the same.

Settling is three steps, each synced before the next: refusals and receipts into their ledgers, then
the cursor. A crash between them leaves the old cursor, which also says how long the ledgers were:
what lies beyond is cut at the next open, and comes again with the batch.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from ._errors import Error, SpoolFailed, SpoolFull, SpoolLocked, SpoolOfOtherSource, SpoolTooNew
from ._event import EVENT_BYTES_MAX, EventId, id_of

HEAD_BYTES = 18
FRAME_BYTES_MAX = HEAD_BYTES + EVENT_BYTES_MAX + 1
SEGMENT_BYTES = 8 << 20
SOURCE = re.compile(r"[A-Za-z0-9._/-]{1,128}")
_HEAD = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{8}) ")
_NAME = "spool-v1-"
_CURSOR = "chancery-cursor-v1"


def encode(line: bytes) -> bytes:
    """The frame of an event."""
    length = b"%08x" % len(line)
    return b"%s %08x %s\n" % (length, zlib.crc32(line, zlib.crc32(length)), line)


def next_piece(data: bytes, at: int, is_end: bool) -> tuple[bytes | None, int]:
    """What `data` holds at `at`: the event of a frame, or None for bytes that are no frame, and
    where the next may begin; the same place for what may be the beginning of a frame.
    """
    head = _HEAD.match(data, at)
    length = int(head[1], 16) if head else EVENT_BYTES_MAX + 1
    if head and length <= EVENT_BYTES_MAX:
        start, end = at + HEAD_BYTES, at + HEAD_BYTES + length
        if end < len(data):
            line = data[start:end]
            if zlib.crc32(line, zlib.crc32(head[1])) == int(head[2], 16):
                return line, end + 1
        elif not is_end:
            return None, at
    elif len(data) - at < HEAD_BYTES and not is_end:
        return None, at
    # No event holds a line feed: the next frame begins behind one.
    return None, data.find(b"\n", at) + 1 or at


def cursor_text(position: int, receipts: int, dead: int) -> bytes:
    """The one line of the cursor."""
    text = b"%s %020d %020d %020d" % (_CURSOR.encode(), position, receipts, dead)
    return b"%s %08x\n" % (text, zlib.crc32(text))


def parse_cursor(data: bytes) -> tuple[int, int, int] | None:
    """Reads exactly what `cursor_text` writes."""
    found = re.fullmatch(rb"\S+ ([0-9]{20}) ([0-9]{20}) ([0-9]{20}) [0-9a-f]{8}\n", data)
    if not found:
        return None
    numbers = (int(found[1]), int(found[2]), int(found[3]))
    is_same = cursor_text(*numbers) == data and max(numbers) < 1 << 64
    return numbers if is_same else None


@dataclass
class Item:
    """An event to be sent."""

    position: int
    id: EventId
    line: bytes


@dataclass
class Junk:
    """Bytes that are no frame of an event."""

    position: int
    data: bytes
    missing: int = 0


@dataclass
class Batch:
    """What is sent, and settled, together."""

    items: list[Item] = field(default_factory=list)
    junk: list[Junk] = field(default_factory=list)
    next: int = 0


class Spool:
    """An open spool. `append` and the sender's side may run in two threads."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        source: str,
        max_bytes: int,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        if not SOURCE.fullmatch(source):
            raise Error("1 to 128 letters, digits, `.`, `_`, `-`, `/`", "SOURCE_NAME")
        self.dir = os.path.abspath(os.fspath(directory))
        self.max_bytes, self.segment_bytes = max_bytes, max(1, segment_bytes)
        self.changed = threading.Condition()
        self.failed = False
        self.torn_bytes, self.cursor_lost = 0, False
        self._files: list[int] = []
        self._writing = threading.Lock()
        self._make_dir()
        self._lock = self._open("lock", os.O_RDWR | os.O_CREAT)
        try:
            self._recover(source)
        except BaseException:
            self.close()
            raise

    # Opening.

    def _make_dir(self) -> None:
        missing, path = [], self.dir
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            os.mkdir(path, 0o700)
            _sync_dir(os.path.dirname(path))

    def _open(self, name: str, flags: int) -> int:
        file = os.open(os.path.join(self.dir, name), flags | os.O_CLOEXEC, 0o600)
        self._files.append(file)
        return file

    def _shut(self, file: int) -> None:
        self._files.remove(file)
        os.close(file)

    def _recover(self, source: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpoolLocked(f"{self.dir}: another process has this spool open") from None
        self._claim(source)
        self._bases = self._list()
        old = parse_cursor(self._read("cursor") or b"")
        self.cursor_lost = old is None and bool(self._bases)
        self.settled = max(old[0] if old else 0, self._bases[0] if self._bases else 0)
        base = self.settled
        if self._bases and self._bases[-1] + self._cut_tail(self._bases[-1]) >= self.settled:
            base = self._bases[-1]
        if base not in self._bases:
            self._bases.append(base)
        # The cursor is written first: a spool with events and no cursor has lost it.
        self._receipts, self._receipts_len = self._ledger("receipts.ndjson", old and old[1])
        self._dead, self._dead_len = self._ledger("dead.ndjson", old and old[2])
        _sync_dir(self.dir)
        now = (self.settled, self._receipts_len, self._dead_len)
        if old != now:
            self._replace("cursor", cursor_text(*now))
        self._remove_settled()
        self._tail = self._open(_segment(base), os.O_RDWR | os.O_CREAT)
        _sync_dir(self.dir)
        self._base, self._len = base, os.fstat(self._tail).st_size
        self.end = base + self._len

    def _claim(self, source: str) -> None:
        found, line = self._read("source"), source.encode() + b"\n"
        if found is None:
            self._replace("source", line)
        elif found != line:
            name = found.decode("utf-8", "replace").strip()
            name = name if SOURCE.fullmatch(name) else "?"
            raise SpoolOfOtherSource(f"this spool holds events of source {name}")

    def _list(self) -> list[int]:
        bases = []
        for name in os.listdir(self.dir):
            if re.fullmatch(re.escape(_NAME) + "[0-9]{20}", name):
                bases.append(int(name[len(_NAME) :]))
            elif name.startswith("spool-v") and not name.startswith(_NAME):
                raise SpoolTooNew(f"{self.dir}: a newer version wrote this spool")
        return sorted(bases)

    def _read(self, name: str) -> bytes | None:
        try:
            with open(os.path.join(self.dir, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _replace(self, name: str, data: bytes) -> None:
        path = os.path.join(self.dir, name)
        file = self._open(name + ".new", os.O_RDWR | os.O_CREAT)
        try:
            os.ftruncate(file, 0)
            _write(file, data, 0)
            os.fsync(file)
        finally:
            self._shut(file)
        os.rename(path + ".new", path)
        _sync_dir(self.dir)

    def _cut_tail(self, base: int) -> int:
        """Cuts what a crash left of a last frame; the length that stays."""
        data, at = self._read(_segment(base)) or b"", 0
        while at < len(data):
            _, end = next_piece(data, at, True)
            if end == at:
                break
            at = end
        self.torn_bytes = len(data) - at
        if self.torn_bytes:
            file = self._open(_segment(base), os.O_RDWR)
            os.ftruncate(file, at)
            os.fsync(file)
            self._shut(file)
        return at

    def _ledger(self, name: str, known: int | None) -> tuple[int, int]:
        file = self._open(name, os.O_RDWR | os.O_CREAT)
        length = os.fstat(file).st_size
        if known is not None and known < length:
            os.ftruncate(file, known)
            os.fsync(file)
            return file, known
        if known != length and length and os.pread(file, 1, length - 1) != b"\n":
            # Somebody took lines away, or the cursor is lost: begin a line of our own.
            _write(file, b"\n", length)
            os.fsync(file)
            length += 1
        return file, length

    # The emitting side.

    def append(self, frames: bytes) -> int:
        """Writes whole frames and syncs them: behind this they are the sender's. `SpoolFull` took
        nothing and may be tried again; any other failure of the disk ends it.
        """
        with self._writing:
            if self.failed:
                raise SpoolFailed("closed, or a write failed before; open the spool again")
            if self.end - self.settled + len(frames) > self.max_bytes:
                raise SpoolFull(f"{self.max_bytes} bytes wait already; the event was not taken")
            if self._len > 0 and self._len + len(frames) > self.segment_bytes:
                self._begin_next()
            try:
                _write(self._tail, frames, self._len)
            except OSError as error:
                self._undo(error)
            try:
                os.fsync(self._tail)
            except OSError as error:
                self._take_back()
                raise SpoolFailed("the disk refuses; open the spool again") from error
            self._len += len(frames)
            with self.changed:
                self.end = self._base + self._len
                self.changed.notify_all()
            return self.end

    def _undo(self, error: OSError) -> None:
        """A full disk may have taken a part; anything else is not to be believed."""
        if self._take_back() and error.errno in (errno.ENOSPC, errno.EDQUOT):
            self.failed = False
            raise SpoolFull("the disk is full; the event was not taken") from error
        raise SpoolFailed("the disk refuses") from error

    def _take_back(self) -> bool:
        """Takes away what was written and is not believed, where that can be: else the next opening
        finds it and sends it. The spool counts as failed.
        """
        self.failed = True
        try:
            os.ftruncate(self._tail, self._len)
        except OSError:
            return False
        return True

    def _synced(self, act):  # type: ignore[no-untyped-def]
        try:
            return act()
        except OSError as error:
            self.failed = True
            raise SpoolFailed("the disk refuses; open the spool again") from error

    def _begin_next(self) -> None:
        base = self._base + self._len
        try:
            file = self._open(_segment(base), os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SpoolFull("the disk is full; the event was not taken") from error
            self.failed = True
            raise SpoolFailed("the disk refuses") from error
        self._synced(lambda: _sync_dir(self.dir))
        self._shut(self._tail)
        self._tail, self._base, self._len = file, base, 0
        with self.changed:
            self._bases.append(base)

    # The sending side.

    def waits(self) -> bool:
        """Whether anything waits to be sent. Ask under `changed`."""
        return self.end > self.settled

    def read(self, batch_events: int, batch_bytes: int) -> Batch | None:
        """What comes next, if anything waits."""
        with self.changed:
            if self.end <= self.settled:
                return None
            base = max(base for base in self._bases if base <= self.settled)
            limit = min((b for b in self._bases if b > self.settled), default=self.end)
        wanted = min(limit - self.settled, batch_bytes + FRAME_BYTES_MAX)
        data = self._window(base, wanted)
        missing = limit - self.settled - len(data) if len(data) < wanted else 0
        is_end = missing > 0 or self.settled + len(data) == limit
        batch, at, total = Batch(), 0, 0
        while at < len(data):
            line, end = next_piece(data, at, is_end)
            if end == at:
                # A window of this length holds a whole frame, or there is none.
                if not is_end and at > 0:
                    break
                end = len(data)
            name = id_of(line) if line is not None else None
            if line is None or name is None:
                batch.junk.append(Junk(self.settled + at, data[at:end]))
            else:
                total += len(line) + 1
                if len(batch.items) >= batch_events or total > batch_bytes:
                    break
                batch.items.append(Item(self.settled + at, name, line))
            at = end
        batch.next = self.settled + at
        if missing and at == len(data):
            batch.junk.append(Junk(batch.next, b"", missing))
            batch.next += missing
        return batch

    def _window(self, base: int, wanted: int) -> bytes:
        try:
            with open(os.path.join(self.dir, _segment(base)), "rb") as file:
                file.seek(self.settled - base)
                return file.read(wanted)
        except FileNotFoundError:
            return b""

    def settle(
        self, position: int, receipts: bytes, dead: bytes, count: Callable[[], None] | None = None
    ) -> None:
        """Writes what became of everything before `position`, and moves the cursor there; `count`
        runs with it, so that whoever sees that all is settled sees how. An `OSError` for a full
        disk changed nothing and may be tried again with the same.
        """
        for file, at, lines in (
            (self._dead, self._dead_len, dead),
            (self._receipts, self._receipts_len, receipts),
        ):
            if lines:
                _write(file, lines, at)
                os.fsync(file)
        now = (position, self._receipts_len + len(receipts), self._dead_len + len(dead))
        self._replace("cursor", cursor_text(*now))
        _, self._receipts_len, self._dead_len = now
        with self.changed:
            self.settled = position
            if count is not None:
                count()
            self.changed.notify_all()
        self._remove_settled()

    def _remove_settled(self) -> None:
        """One that cannot be removed now is at the next settling or opening."""
        with self.changed:
            pairs = zip(self._bases, self._bases[1:])
            passed = [base for base, end in pairs if end <= self.settled]
        for base in passed:
            try:
                os.unlink(os.path.join(self.dir, _segment(base)))
            except FileNotFoundError:
                pass
            except OSError:
                continue
            with self.changed:
                self._bases.remove(base)

    def close(self) -> None:
        """Closes every file, once nobody writes; the lock goes last. `append` fails from now on:
        the number of a closed file may be another file's by then.
        """
        with self._writing:
            self.failed = True
            while self._files:
                os.close(self._files.pop())


def _segment(base: int) -> str:
    return f"{_NAME}{base:020d}"


def _write(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        taken = os.pwrite(file, view, at)
        view, at = view[taken:], at + taken


def _sync_dir(path: str) -> None:
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
