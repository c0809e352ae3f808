"""What may be emitted: a dict of JSON values of at most 1 MiB with a text as its `id`, which is put
in where it is missing. What the vault would refuse as JSON is refused here, to the caller, and not
days later. The caller's dict is never changed.
"""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from typing import Any, NewType

from ._errors import InvalidEvent

EventId = NewType("EventId", str)

EVENT_BYTES_MAX = 1 << 20
DEPTH_MAX = 64
ID_CHARS_MAX = 128


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): milliseconds of the wall clock, then 74 random bits."""
    millis = time.time_ns() // 1_000_000
    value = int.from_bytes(millis.to_bytes(6, "big") + os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=value))


def check(value: Any, depth: int = 0) -> None:
    """Raises unless `value` is JSON that reads back the same."""
    if value is None or isinstance(value, (bool, int, str)):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidEvent("JSON has no such number; send it as text", "JSON_NUMBER")
        return
    if depth >= DEPTH_MAX:
        raise InvalidEvent(f"nested over {DEPTH_MAX} levels; flatten it", "JSON_DEPTH")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InvalidEvent("a key is no text", "JSON_SYNTAX")
            check(inner, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            check(inner, depth + 1)
    else:
        raise InvalidEvent(f"a value of type {type(value).__name__} is no JSON", "JSON_SYNTAX")


def prepare(event: dict[str, Any]) -> tuple[EventId, bytes]:
    """The event's id and its line."""
    if not isinstance(event, dict):
        raise InvalidEvent("send one object per event", "EVENT_NOT_OBJECT")
    if "id" not in event:
        event = {"id": uuid7(), **event}
    name = event["id"]
    if not isinstance(name, str) or not 1 <= len(name) <= ID_CHARS_MAX:
        fix = f"id: send a text of 1 to {ID_CHARS_MAX} characters, or leave it out"
        raise InvalidEvent(fix, "FIELD_TYPE")
    check(event)
    text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        line = text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidEvent("half of a surrogate pair in a text", "JSON_SURROGATE") from None
    if len(line) > EVENT_BYTES_MAX:
        raise InvalidEvent(f"over {EVENT_BYTES_MAX} bytes with its id", "EVENT_TOO_LARGE")
    return EventId(name), line


def id_of(line: bytes) -> EventId | None:
    """The id of an event out of the spool."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    name = event.get("id") if isinstance(event, dict) else None
    return EventId(name) if isinstance(name, str) else None
