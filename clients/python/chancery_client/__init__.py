"""A durable spooling emitter of audit events to a Chancery vault.

An event that `Emitter.emit` took is on this machine's disk, synced, before `emit` returns; it
leaves the spool only behind a receipt of the vault, or a refusal that names it. Between the two it
is sent as often as it takes, in order, with the same id. It never drops an event in silence, and
never logs an event or the token.
"""

from ._emitter import Emitter, Stats, State
from ._errors import (
    EmitterClosed,
    Error,
    InvalidEvent,
    SpoolFailed,
    SpoolFull,
    SpoolLocked,
    SpoolOfOtherSource,
    SpoolTooNew,
)
from ._event import EventId

__all__ = [
    "Emitter",
    "EmitterClosed",
    "Error",
    "EventId",
    "InvalidEvent",
    "SpoolFailed",
    "SpoolFull",
    "SpoolLocked",
    "SpoolOfOtherSource",
    "SpoolTooNew",
    "State",
    "Stats",
]
__version__ = "0.1.0"
