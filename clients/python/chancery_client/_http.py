"""The way to the vault: one POST over one kept connection. No redirect, no proxy, no retry; the
token goes to the address it was given for and nowhere else. Certificates are verified always; plain
HTTP stays on this machine.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import ssl
from urllib.parse import quote, urlsplit

from ._errors import Error

ANSWER_BYTES_MAX = 16 << 20


class NoAnswer(Exception):
    """Why no answer came."""


class Vault:
    """A vault behind an address."""

    def __init__(
        self,
        url: str,
        token: str,
        source: str,
        ca_file: str | os.PathLike[str] | None,
        timeout: float,
    ) -> None:
        parts = urlsplit(url)
        plain = url.isascii() and url.isprintable() and " " not in url
        if not plain or parts.query or parts.fragment or "?" in url or "#" in url:
            raise Error("an address holds no space, query or fragment", "CONFIG_VALUE")
        if not parts.hostname or parts.username is not None or "@" in parts.netloc:
            raise Error("an address needs a host and names no user", "CONFIG_VALUE")
        if parts.scheme not in ("https", "http"):
            raise Error("not https://... or http://...", "CONFIG_VALUE")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            fix = "plain http goes to this machine only; use https"
            raise Error(fix, "CONFIG_VALUE")
        self._host, self._port, self._timeout = parts.hostname, parts.port, timeout
        self._tls = None
        if parts.scheme == "https":
            cafile = None if ca_file is None else os.fspath(ca_file)
            self._tls = ssl.create_default_context(cafile=cafile)
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        path = parts.path.rstrip("/")
        self._target = f"{path}/v1/events?source={quote(source, safe='')}&partial=true"
        self._connection: http.client.HTTPConnection | None = None
        self.set_token(token)

    def set_token(self, token: str) -> None:
        """What the next requests are signed with."""
        token = token.strip(" \t\r\n")
        if not 1 <= len(token) <= 512 or not all("!" <= c <= "~" for c in token):
            raise Error("a token is 1 to 512 visible ASCII characters", "CONFIG_VALUE")
        self._authorization = "Bearer " + token

    def __repr__(self) -> str:
        return f"Vault({self._host})"

    def post(self, body: bytes) -> tuple[int, int | None, bytes]:
        """Status, seconds of `Retry-After`, body."""
        headers = {
            "Accept": "application/json, application/problem+json",
            "Authorization": self._authorization,
            "Content-Type": "application/x-ndjson",
            "User-Agent": "chancery-client-python",
        }
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.request("POST", self._target, body, headers)
            response = self._connection.getresponse()
            answer = response.read(ANSWER_BYTES_MAX + 1)
            if len(answer) > ANSWER_BYTES_MAX:
                raise NoAnswer("an answer over 16 MiB")
            asked = (response.getheader("Retry-After") or "").strip()
            retry = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else None
            return response.status, retry, answer
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(f"{type(error).__name__}: {error}"[:200]) from None
        except BaseException:
            self.close()
            raise

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout, context=self._tls
        )

    def close(self) -> None:
        """Closes the connection; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
