"""The spool and the sender's steps: crashes at every call of the system, tears, rot, a full disk."""

import base64
import errno
import json
import os
import pathlib
import shutil
import tempfile
import threading
import unittest
from unittest import mock

import receiver as r
from chancery_client import SpoolFailed, SpoolFull, SpoolLocked, SpoolOfOtherSource, SpoolTooNew
from chancery_client import _spool
from chancery_client._sender import Sender
from chancery_client._spool import Spool, encode, parse_cursor, cursor_text, next_piece

CALLS = ["pwrite", "fsync", "ftruncate", "rename", "unlink"]


class Crash(BaseException):
    """The process is no more."""


class Fault:
    """Makes the n-th call of the system end the process, or fail, or find the disk full."""

    def __init__(self, n, error=None, tear=False):
        self.left, self.error, self.tear, self.patches = n, error, tear, []

    def __enter__(self):
        for name in CALLS:
            real = getattr(os, name)
            patch = mock.patch.object(_spool.os, name, self._wrap(name, real))
            patch.start()
            self.patches.append(patch)
        return self

    def __exit__(self, *_):
        for patch in self.patches:
            patch.stop()

    def _wrap(self, name, real):
        def call(*args):
            self.left -= 1
            hit = self.left == 0 or (self.left < 0 and self.error is not None)
            if not hit or (self.error == errno.ENOSPC and name != "pwrite"):
                return real(*args)
            if name == "pwrite" and self.tear:
                file, data, at = args
                real(file, bytes(data)[: len(data) // 2], at)
            raise OSError(self.error, "x") if self.error else Crash()

        return call


def line(name, bad=False):
    return json.dumps({"id": name, "bad": bad}).encode()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.spools = []
        self.addCleanup(lambda: [spool.close() for spool in self.spools])

    def spool(self, max_bytes=1 << 20, segment_bytes=150, source="app"):
        spool = Spool(self.dir, source, max_bytes, segment_bytes)
        self.spools.append(spool)
        return spool

    def drain(self, spool, book):
        sender = Sender(spool, book, 4, 2 << 20)
        for _ in range(10_000):
            if sender.step().kind == "idle":
                return sender
        self.fail("it never comes to an end")

    def ledger(self, name):
        text = (pathlib.Path(self.dir) / name).read_text()
        self.assertTrue(not text or text.endswith("\n"))
        return [json.loads(one) for one in text.splitlines()]

    def ids(self, name):
        return [one["id"] for one in self.ledger(name) if "id" in one]


class Crashes(Case):
    def run_until(self, fault, book):
        """Emits and sends by turns; what was promised before the fault."""
        promised, offered = [], []
        spool = None
        try:
            with fault:
                for part in range(3):
                    spool = Spool(self.dir, "app", 1 << 20, 150)
                    sender = Sender(spool, book, 4, 2 << 20)
                    for n in range(5):
                        names = [f"{part}-{n}-{k}" for k in range(1 + n % 2)]
                        frames = b"".join(encode(line(x, x == "1-2-0")) for x in names)
                        offered += names
                        spool.append(frames)
                        promised += names
                        if n % 2:
                            sender.step()
                            sender.step()
                    spool.close()
            return promised, offered, True
        except (Crash, SpoolFailed, OSError):
            return promised, offered, False
        finally:
            if spool is not None:
                spool.close()

    def test_nothing_taken_is_lost_by_a_crash_at_any_call(self):
        crashes = 0
        for tear in (False, True):
            n, ended = 0, False
            while not ended:
                n += 1
                shutil.rmtree(self.dir)
                bad = r.partial(r.problem(422, "FIELD_REQUIRED"))
                acts = [bad, r.TAKE_AND_RESET, bad, r.RESET, r.say(503)] + [bad] * 99
                book = r.Book(acts)
                promised, offered, ended = self.run_until(Fault(n, tear=tear), book)
                spool = Spool(self.dir, "app", 1 << 20, 150)
                self.drain(spool, book)
                spool.close()
                receipts, dead = self.ids("receipts.ndjson"), self.ids("dead.ndjson")
                self.assertFalse(book.clashes)
                for name in promised:
                    found = receipts.count(name) + dead.count(name)
                    self.assertEqual(found, 1, f"call {n}, tear {tear}: {name}")
                self.assertLessEqual(set(receipts + dead), set(offered))
                self.assertLessEqual(set(dead), {"1-2-0"})
                self.assertLessEqual(set(receipts), set(book.taken))
                crashes += 1
        self.assertGreater(crashes, 200)

    def test_a_disk_that_fails_takes_nothing_that_was_promised(self):
        for n in range(1, 90):
            shutil.rmtree(self.dir)
            book = r.Book()
            promised, _, _ = self.run_until(Fault(n, errno.EIO, tear=True), book)
            spool = Spool(self.dir, "app", 1 << 20, 150)
            self.drain(spool, book)
            spool.close()
            receipts = self.ids("receipts.ndjson")
            self.assertEqual([receipts.count(name) for name in promised], [1] * len(promised))

    def test_a_full_disk_refuses_and_goes_on_when_there_is_room(self):
        refused = 0
        for n in range(1, 30):
            shutil.rmtree(self.dir)
            book, promised = r.Book(), []
            spool = Spool(self.dir, "app", 1 << 20, 150)
            sender = Sender(spool, book, 4, 2 << 20)
            with Fault(n, errno.ENOSPC, tear=True):
                for k in range(8):
                    try:
                        spool.append(encode(line(f"e{k}")))
                        promised.append(f"e{k}")
                    except SpoolFull:
                        refused += 1
                    sender.step()
            spool.append(encode(line("last")))
            for _ in range(100):
                sender.step()
            spool.close()
            self.assertEqual(self.ids("receipts.ndjson"), promised + ["last"])
        self.assertGreater(refused, 20)

    def test_after_a_failed_sync_nothing_more_is_taken(self):
        spool = self.spool()
        with mock.patch.object(_spool.os, "fsync", side_effect=OSError(errno.EIO, "x")):
            with self.assertRaises(SpoolFailed):
                spool.append(encode(line("a")))
        with self.assertRaises(SpoolFailed):
            spool.append(encode(line("b")))
        # Where the disk lets go of what it did not sync, nothing of it is left to be sent.
        spool.close()
        spool = self.spool()
        self.assertEqual((spool.end, spool.torn_bytes), (0, 0))
        spool.close()

    def test_nothing_is_written_to_a_file_that_was_closed_meanwhile(self):
        spool, real = self.spool(), os.pwrite
        inside, go_on = threading.Event(), threading.Event()

        def slow(*args):
            inside.set()
            go_on.wait()
            return real(*args)

        said = []

        def emit():
            try:
                said.append(spool.append(encode(line("a"))))
            except SpoolFailed:
                said.append("failed")

        with mock.patch.object(_spool.os, "pwrite", side_effect=slow):
            emitting = threading.Thread(target=emit)
            emitting.start()
            inside.wait()
            closing = threading.Thread(target=spool.close)
            closing.start()
            # It waits for the writer, who has the files.
            closing.join(timeout=0.05)
            self.assertTrue(closing.is_alive() and spool._files)
            go_on.set()
            emitting.join()
            closing.join()
        self.assertEqual(said, [len(encode(line("a")))])
        with self.assertRaises(SpoolFailed):
            spool.append(encode(line("b")))
        spool = self.spool()
        self.assertEqual(spool.end, said[0])
        spool.close()


class Files(Case):
    def test_a_torn_frame_is_cut_and_a_damaged_one_is_kept_for_who_looks(self):
        spool = self.spool(segment_bytes=4_096)
        for name in "abc":
            spool.append(encode(line(name)))
        spool.close()
        path = pathlib.Path(self.dir) / f"spool-v1-{0:020d}"
        good = path.read_bytes()
        frame = len(good) // 3

        def sent(data):
            shutil.rmtree(self.dir)
            os.mkdir(self.dir)
            path.write_bytes(data)
            (path.parent / "source").write_text("app\n")
            (path.parent / "cursor").write_bytes(cursor_text(0, 0, 0))
            spool, book = Spool(self.dir, "app", 1 << 20), r.Book()
            self.drain(spool, book)
            spool.append(encode(line("d")))
            self.drain(spool, book)
            spool.close()
            return book.order, self.ledger("dead.ndjson"), spool.torn_bytes

        for cut in range(2 * frame, 3 * frame):
            self.assertEqual(sent(good[:cut]), (["a", "b", "d"], [], cut - 2 * frame))
        for bit in range(0, len(good) * 8, 3):
            at, data = bit // 8, bytearray(good)
            data[at] ^= 1 << bit % 8
            order, dead, _ = sent(bytes(data))
            is_feed = at % frame == frame - 1
            hit = None if is_feed else "abc"[at // frame]
            self.assertEqual(order, [name for name in "abcd" if name != hit], bit)
            self.assertEqual([one["code"] for one in dead], [] if is_feed else ["FRAME_DAMAGED"])
            if dead:
                start = at // frame * frame
                kept = base64.b64decode(dead[0]["bytes"])
                self.assertEqual(kept, bytes(data[start : start + frame]))

    def test_the_bytes_are_those_of_the_page(self):
        self.assertEqual(encode(b'{"id":"a","n":1}'), b'00000010 d550f096 {"id":"a","n":1}\n')
        self.assertEqual(next_piece(encode(b"{}") + b"x", 0, True), (b"{}", 21))
        text = cursor_text(7, 2**64 - 1, 0)
        self.assertEqual(parse_cursor(text), (7, 2**64 - 1, 0))
        for bit in range(len(text) * 8):
            data = bytearray(text)
            data[bit // 8] ^= 1 << bit % 8
            self.assertIsNone(parse_cursor(bytes(data)))

    def test_a_full_spool_refuses_and_settled_bytes_make_room(self):
        spool, book, taken = self.spool(max_bytes=300, segment_bytes=100), r.Book(), 0
        with self.assertRaises(SpoolFull):
            while True:
                spool.append(encode(line(f"e{taken}")))
                taken += 1
        self.assertTrue(3 <= taken < 9, taken)
        self.drain(spool, book)
        spool.append(encode(line("y")))
        self.drain(spool, book)
        self.assertEqual(len(book.order), taken + 1)
        left = [name for name in os.listdir(self.dir) if name.startswith("spool-v1-")]
        self.assertEqual(len(left), 1)

    def test_a_spool_is_of_one_process_one_source_and_one_version(self):
        first = self.spool()
        with self.assertRaises(SpoolLocked):
            self.spool()
        first.close()
        with self.assertRaises(SpoolOfOtherSource) as raised:
            self.spool(source="crm")
        self.assertIn("app", str(raised.exception))
        (pathlib.Path(self.dir) / "spool-v2-0").write_bytes(b"x")
        with self.assertRaises(SpoolTooNew):
            self.spool()

    def test_a_lost_cursor_sends_again(self):
        spool, book = self.spool(segment_bytes=4_096), r.Book()
        for name in "abc":
            spool.append(encode(line(name)))
        self.drain(spool, book)
        spool.close()
        (pathlib.Path(self.dir) / "cursor").write_bytes(b"rubbish")
        spool = self.spool(segment_bytes=4_096)
        self.assertTrue(spool.cursor_lost)
        self.drain(spool, book)
        self.assertEqual((book.order, book.clashes), (list("abc"), []))
        self.assertEqual(self.ids("receipts.ndjson"), list("abcabc"))

    def test_everything_is_its_owner_s_only(self):
        spool = Spool(os.path.join(self.dir, "x", "y"), "app", 1 << 20)
        self.spools.append(spool)
        spool.append(encode(line("a")))
        self.assertEqual(os.stat(spool.dir).st_mode & 0o777, 0o700)
        for name in os.listdir(spool.dir):
            mode = os.stat(os.path.join(spool.dir, name)).st_mode & 0o777
            self.assertEqual(mode, 0o600, name)


class Steps(Case):
    def five(self, *acts):
        spool, book = self.spool(segment_bytes=4_096), r.Book(acts)
        spool.append(b"".join(encode(line(name, name == "c")) for name in "abcde"))
        return spool, book, Sender(spool, book, 8, 2 << 20)

    def requests(self, book):
        return ["".join(ids) for ids in book.requests]

    def test_a_lost_answer_is_asked_for_again_with_the_same_ids(self):
        for act in (r.RESET, r.TAKE_AND_RESET, r.say(500, "<html>")):
            shutil.rmtree(self.dir)
            spool, book, sender = self.five(act)
            step = sender.step()
            self.assertTrue(step.kind == "wait" and 0.05 <= step.seconds <= 0.1, step)
            self.drain(spool, book)
            spool.close()
            self.assertEqual(self.requests(book)[0], "abcde")
            self.assertEqual("".join(self.ids("receipts.ndjson")), "abcde")
            self.assertEqual("".join(book.order), "abcde")

    def test_waits_grow_and_the_vault_may_ask_for_more(self):
        down = [r.say(503, r.problem(503, "OVERLOADED"))] * 12
        _, book, sender = self.five(*down, r.say(429, r.problem(429, "RATE_LIMITED"), 7))
        waits = []
        while (step := sender.step()).kind == "wait":
            waits.append(step.seconds)
        for n, seconds in enumerate(waits[:12]):
            most = min(0.1 * 2**n, 30)
            self.assertTrue(most / 2 <= seconds <= most, (n, seconds))
        self.assertTrue(7 <= waits[12] <= 7.7, waits[12])
        self.assertEqual((len(waits), "".join(book.order)), (13, "abcde"))

    def test_one_bad_event_stands_aside_whether_the_vault_names_it_or_not(self):
        refusal = r.problem(422, "FIELD_REQUIRED")
        for acts in ([r.partial(refusal)], [r.whole(refusal)] * 20):
            shutil.rmtree(self.dir)
            spool, book, sender = self.five(*acts)
            while sender.step().kind != "idle":
                pass
            spool.close()
            self.assertEqual("".join(self.ids("receipts.ndjson")), "abde")
            (dead,) = self.ledger("dead.ndjson")
            self.assertEqual((dead["id"], dead["code"]), ("c", "FIELD_REQUIRED"))
            self.assertEqual(dead["event"], line("c", True).decode())
            self.assertEqual(sender.counts.dead, 1)

    def test_of_an_event_that_was_erased_no_copy_stays(self):
        spool, book, sender = self.five(r.partial(r.problem(409, "DUPLICATE_OF_ERASED")))
        sender.step()
        (dead,) = self.ledger("dead.ndjson")
        self.assertEqual((dead["id"], dead["event"]), ("c", None))

    def test_what_is_refused_for_the_moment_is_sent_again_alone(self):
        spool, book, sender = self.five(r.partial(r.problem(409, "CLASS_DAY_EXPIRED")))
        self.assertEqual(sender.step().why.code, "CLASS_DAY_EXPIRED")
        while sender.step().kind != "idle":
            pass
        self.assertEqual(self.requests(book), ["abcde", "c"])
        self.assertEqual("".join(self.ids("receipts.ndjson")), "abcde")

    def test_a_refusal_of_the_sender_moves_nothing(self):
        for status, code in ((401, "X_Y"), (403, "DENIED"), (422, "SOURCE_UNKNOWN")):
            shutil.rmtree(self.dir)
            spool, book, sender = self.five(*[r.say(status, r.problem(status, code))] * 2)
            for _ in range(2):
                step = sender.step()
                self.assertEqual((step.kind, step.why.code), ("park", code))
            self.assertEqual((spool.settled, self.ledger("dead.ndjson")), (0, []))
            while sender.step().kind != "idle":
                pass
            spool.close()
            self.assertEqual("".join(book.order), "abcde")

    def test_an_answer_that_says_too_little_is_no_receipt(self):
        for body in ({}, {"receipts": []}, {"results": [{"receipt": {}}]}):
            shutil.rmtree(self.dir)
            spool, book, sender = self.five(r.say(200, body))
            self.assertEqual(sender.step().kind, "wait")
            self.assertEqual(self.ledger("receipts.ndjson"), [])
            spool.close()


if __name__ == "__main__":
    unittest.main()
