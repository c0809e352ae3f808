"""What an emitter raises. Each has a stable `code`; none carries contents of an event."""


class Error(Exception):
    """Why an emitter did not take an event, or was not opened."""

    code = "FAILED"

    def __init__(self, message: str, code: str | None = None) -> None:
        self.code = code or self.code
        super().__init__(f"{self.code}: {message}")


class InvalidEvent(Error):
    """The event cannot be sent as it is."""


class SpoolFull(Error):
    """As many bytes wait as may, or the disk is full. The event was not taken."""

    code = "SPOOL_FULL"


class SpoolLocked(Error):
    """Another process has this spool open."""

    code = "SPOOL_LOCKED"


class SpoolOfOtherSource(Error):
    """The spool holds events of another source."""

    code = "SPOOL_SOURCE"


class SpoolTooNew(Error):
    """A newer version wrote this spool."""

    code = "SPOOL_TOO_NEW"


class SpoolFailed(Error):
    """A write or sync failed: nothing more is taken until the spool is opened anew."""

    code = "SPOOL_FAILED"


class EmitterClosed(Error):
    """The emitter was closed, or belongs to the process this one was forked from."""

    code = "EMITTER_CLOSED"
