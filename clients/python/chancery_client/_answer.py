"""What an answer of the vault means for the events that were sent: pure, the same rules as in the
Rust client (`docs/clients.md` has the table, `tests/answers.json` holds both to it).

A refusal of the request is never taken for one of its events: what may be a mistake of
configuration parks the emitter, what nobody can read is sent again, and only an answer that speaks
of an event takes it out of the way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

DETAIL_CHARS_MAX = 500
RETRY_SECONDS_MAX = 3_600

PASSING = {"OVERLOADED", "STORE_FULL", "CLASS_DAY_EXPIRED"}
OF_EVENTS = {"JSON", "EVENT", "FIELD", "TIME", "IDENTIFIER", "TOO", "CLEAR", "ENTRY"}
OF_EVENTS |= {"DUPLICATE", "SUBJECT"}
PARKING = {401, 403, 404, 405, 406, 411, 415, 421}
REFUSING = {400, 409, 413, 422}


@dataclass(frozen=True)
class Why:
    """Why something was not taken."""

    status: int  # HTTP status; 0 when there was no answer
    code: str
    detail: str = field(default="", repr=False)


@dataclass(frozen=True)
class Fate:
    """What became of one event: `kind` is receipt, dead, again or park."""

    kind: str
    receipt: dict[str, Any] | None = None
    why: Why | None = None


@dataclass(frozen=True)
class Verdict:
    """What an answer says: `kind` is fates, halve, wait or park."""

    kind: str
    fates: list[Fate] = field(default_factory=list)
    top: dict[str, Any] = field(default_factory=dict)
    why: Why | None = None


def judge(status: int, body: bytes, n: int) -> Verdict:
    """Judges an answer to a request of `n` events."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if status in (200, 422):
        fates = None
        if _is_list(answer.get("results"), n):
            fates = [_result(value) for value in answer["results"]]
        elif status == 200 and _is_list(answer.get("receipts"), n):
            fates = [_receipt(value) for value in answer["receipts"]]
        if fates is not None and None not in fates:
            top = {name: answer[name] for name in ("checkpoint", "size") if name in answer}
            return Verdict("fates", fates=fates, top=top)
    why = _why(answer, status)
    if status in PARKING:
        return Verdict("park", why=why)
    if status not in REFUSING or why.code in PASSING:
        return Verdict("wait", why=why)
    if status == 413 and n > 1:
        return Verdict("halve", why=why)
    if not why.code:
        # Nothing that reads like the vault: a proxy, perhaps.
        return Verdict("wait", why=why)
    if _family(why.code) not in OF_EVENTS:
        return Verdict("park", why=why)
    if n > 1:
        return Verdict("halve", why=why)
    return Verdict("fates", fates=[Fate("dead", why=why)])


def _is_list(value: Any, n: int) -> bool:
    return isinstance(value, list) and len(value) == n


def _family(code: str) -> str:
    return code.split("_", 1)[0]


def _result(value: Any) -> Fate | None:
    if not isinstance(value, dict):
        return None
    if "receipt" in value:
        return _receipt(value["receipt"])
    problem = value.get("problem")
    if not isinstance(problem, dict):
        return None
    status = problem.get("status")
    is_status = isinstance(status, int) and not isinstance(status, bool) and 0 <= status < 65_536
    why = _why(problem, status if is_status else 0)
    if why.code in PASSING:
        return Fate("again", why=why)
    if why.status in (401, 403, 404) or _family(why.code) in ("SOURCE", "TENANT"):
        return Fate("park", why=why)
    if 400 <= why.status < 500 and why.status != 429 and why.code:
        return Fate("dead", why=why)
    return Fate("again", why=why)


def _receipt(value: Any) -> Fate | None:
    """A receipt names its place and its leaf, or it is none."""
    if not isinstance(value, dict):
        return None
    index, leaf = value.get("index"), value.get("leaf")
    if not isinstance(index, str) or not re.fullmatch(r"[0-9]{1,20}", index):
        return None
    if int(index) >= 1 << 64 or not isinstance(leaf, str) or not leaf:
        return None
    return Fate("receipt", receipt=value)


def _why(problem: dict[str, Any], status: int) -> Why:
    code, detail = problem.get("code"), problem.get("detail")
    found = re.match(r"[A-Z0-9_]{0,64}", code) if isinstance(code, str) else None
    clause = detail[:DETAIL_CHARS_MAX] if isinstance(detail, str) else ""
    return Why(status, found.group() if found else "", clause)
