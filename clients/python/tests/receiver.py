"""A receiver of events that plays what a test tells it. It keeps what it took by id, answers a
second time with the first receipt, and notes one id with two contents.

As a program (`receiver.py PORT JOURNAL`) it is a vault that can be killed: what it takes is in the
journal, synced, before it answers.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import ssl
import struct
import sys
import threading

TAKE = ("take",)
TAKE_AND_RESET = ("take-and-reset",)
RESET = ("reset",)


def say(status, body=None, retry_after=None):
    """Answers this and takes nothing."""
    return ("say", status, body, retry_after)


def partial(problem):
    """Takes all but events whose `bad` is true: those get this problem."""
    return ("partial", problem)


def whole(problem):
    """As a vault without `partial`: refuses the request if one event is bad."""
    return ("whole", problem)


def problem(status, code):
    return {"status": status, "code": code, "detail": "d"}


class Book:
    """What was taken, and what will be done."""

    def __init__(self, script=(), journal=None):
        self.script, self.taken, self.order = list(script), {}, []
        self.requests, self.tokens, self.clashes = [], [], []
        self.changed = threading.Condition()
        self.journal = None
        if journal is not None:
            self.journal = open(journal, "a+b")
            self.journal.seek(0)
            whole_lines = self.journal.read().split(b"\n")[:-1]
            for line in whole_lines:
                self.take(line)
            self.journal.truncate(sum(len(line) + 1 for line in whole_lines))

    def take(self, line):
        name = json.loads(line)["id"]
        duplicate = name in self.taken
        if not duplicate:
            self.taken[name] = (line, len(self.order))
            self.order.append(name)
        elif self.taken[name][0] != line:
            self.clashes.append(name)
        index = self.taken[name][1]
        receipt = {"index": str(index), "time": "2026-11-27T00:00:00Z", "leaf": f"{index:08x}"}
        return duplicate, {**receipt, "duplicate": duplicate}

    def answer(self, body, token=""):
        """Status, headers, body; None when the connection ends."""
        with self.changed:
            return self._answer(body, token)

    def _answer(self, body, token):
        lines = [line for line in body.split(b"\n") if line]
        events = [json.loads(line) for line in lines]
        self.requests.append([event["id"] for event in events])
        self.tokens.append(token)
        act = self.script.pop(0) if self.script else TAKE
        self.changed.notify_all()
        kind = act[0]
        if kind == "reset":
            return None
        if kind == "say":
            headers = {} if act[3] is None else {"Retry-After": str(act[3])}
            return act[1], headers, json.dumps(act[2]).encode()
        if kind == "whole" and any(event.get("bad") is True for event in events):
            return 422, {}, json.dumps(act[1]).encode()
        results, fresh = [], []
        for event, line in zip(events, lines):
            if kind == "partial" and event.get("bad") is True:
                results.append({"problem": act[1]})
                continue
            duplicate, receipt = self.take(line)
            results.append({"receipt": receipt})
            if not duplicate:
                fresh.append(line + b"\n")
        if self.journal is not None:
            self.journal.write(b"".join(fresh))
            self.journal.flush()
            os.fsync(self.journal.fileno())
        if kind == "take-and-reset":
            return None
        top = {"checkpoint": "note", "size": str(len(self.order))}
        return 200, {}, json.dumps({"results": results, **top}).encode()

    # In the same process: what the sender calls.

    def post(self, body):
        from chancery_client._http import NoAnswer

        answer = self.answer(body)
        if answer is None:
            raise NoAnswer("reset")
        status, headers, text = answer
        asked = headers.get("Retry-After")
        return status, None if asked is None else int(asked), text

    def wait_for_requests(self, n):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= n, 60):
                raise AssertionError(f"{len(self.requests)} requests")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        expected = "/v1/events?source=app&partial=true"
        if self.path != expected or self.headers["Content-Type"] != "application/x-ndjson":
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.book.answer(body, self.headers["Authorization"])
        if answer is None:
            self._reset()
            return
        status, headers, text = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _reset(self):
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_):
        pass


class Receiver:
    """A book behind a port of this machine."""

    def __init__(self, book, port=0, certificate=None):
        self.server = _Server(("127.0.0.1", port), _Handler)
        self.server.book = book
        scheme = "http"
        if certificate is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


if __name__ == "__main__":
    program = _Server(("127.0.0.1", int(sys.argv[1])), _Handler)
    program.book = Book(journal=sys.argv[2])
    print(program.server_address[1], flush=True)
    program.serve_forever()
