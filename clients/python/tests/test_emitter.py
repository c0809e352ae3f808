"""The emitter over HTTP: lost answers, refused tokens, TLS, a vault and an application that are
killed mid-run.
"""

import io
import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

import receiver as r
from chancery_client import Emitter, EmitterClosed, Error, InvalidEvent, SpoolLocked, State

HERE = pathlib.Path(__file__).parent
LONG = 60.0


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.dir)
        self.log = io.StringIO()
        handler = logging.StreamHandler(self.log)
        logging.getLogger("chancery_client").addHandler(handler)
        logging.getLogger("chancery_client").propagate = False
        self.addCleanup(logging.getLogger("chancery_client").removeHandler, handler)

    def serve(self, book, **more):
        served = r.Receiver(book, **more)
        self.addCleanup(served.close)
        return served

    def emitter(self, url, **more):
        emitter = Emitter(url, "secret-token", "app", self.dir / "spool", **more)
        self.addCleanup(emitter.close)
        return emitter

    def receipts(self):
        lines = (self.dir / "spool" / "receipts.ndjson").read_text().splitlines()
        return [one for one in map(json.loads, lines) if "leaf" in one]


class Delivery(Case):
    def test_everything_arrives_once_and_in_order_through_lost_answers(self):
        book = r.Book([r.RESET, r.TAKE_AND_RESET, r.say(503, {"code": "X"}), r.TAKE_AND_RESET])
        emitter = self.emitter(self.serve(book).url, batch_events=50)
        ids = [emitter.emit({"n": n, "who": "Quellmalz"}) for n in range(100)]
        ids += emitter.emit_many({"n": n} for n in range(100))
        self.assertTrue(emitter.flush(LONG), emitter.stats())
        stats = emitter.stats()
        self.assertEqual((stats.emitted, stats.counts.receipts, stats.waiting_bytes), (200, 200, 0))
        self.assertGreater(stats.counts.duplicates, 0)
        self.assertEqual((book.order, book.clashes), (ids, []))
        self.assertEqual([one["id"] for one in self.receipts()], ids)
        self.assertEqual(set(book.tokens), {"Bearer secret-token"})
        self.assertIn("UNREACHABLE", self.log.getvalue())
        for secret in ("Quellmalz", "secret-token"):
            self.assertNotIn(secret, self.log.getvalue())

    def test_a_batch_is_taken_whole_or_not_at_all(self):
        book = r.Book()
        emitter = self.emitter(self.serve(book).url)
        with self.assertRaises(InvalidEvent):
            emitter.emit_many([{"a": 1}, {"a": float("nan")}])
        self.assertTrue(emitter.flush(LONG))
        self.assertEqual((emitter.stats().emitted, book.order), (0, []))
        self.assertEqual(emitter.emit_many([]), [])

    def test_a_refused_token_parks_the_emitter_until_there_is_another(self):
        book = r.Book([r.say(401, {"code": "TOKEN_UNKNOWN"})])
        emitter = self.emitter(self.serve(book).url)
        first = emitter.emit({"a": 1})
        self.assertFalse(emitter.flush(LONG))
        stats = emitter.stats()
        self.assertEqual(stats.state, State.PARKED)
        self.assertEqual((stats.why.status, stats.why.code), (401, "TOKEN_UNKNOWN"))
        second = emitter.emit({"a": 2})
        self.assertFalse(emitter.flush(LONG))
        self.assertEqual(len(book.requests), 1)
        emitter.resume(token="another")
        self.assertTrue(emitter.flush(LONG))
        self.assertEqual(book.order, [first, second])
        self.assertEqual(book.tokens[-1], "Bearer another")

    def test_bad_events_stand_aside(self):
        book = r.Book([r.whole(r.problem(400, "FIELD_REQUIRED"))] * 30)
        emitter = self.emitter(self.serve(book).url)
        emitter.emit_many({"id": f"e{n}", "bad": n == 7} for n in range(20))
        self.assertTrue(emitter.flush(LONG))
        self.assertEqual((emitter.stats().counts.dead, len(book.order)), (1, 19))
        emitter.close()
        self.assertIn("1 events refused for good", self.log.getvalue())

    def test_many_threads_emit_and_nothing_is_mixed_up(self):
        book = r.Book()
        emitter = self.emitter(self.serve(book).url)

        def work(name):
            for n in range(40):
                emitter.emit({"id": f"{name}-{n}"})

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(emitter.flush(LONG))
        for name in "abcd":
            mine = [one for one in book.order if one[0] == name]
            self.assertEqual(mine, [f"{name}-{n}" for n in range(40)])


class Lives(Case):
    def test_what_waits_when_it_is_closed_is_sent_by_the_next(self):
        away = self.serve(r.Book())
        away.close()
        first = Emitter(away.url, "t", "app", self.dir / "spool")
        ids = first.emit_many({"n": n} for n in range(30))
        self.assertFalse(first.flush(0.01))
        with self.assertRaises(SpoolLocked):
            Emitter(away.url, "t", "app", self.dir / "spool")
        first.close()
        first.close()
        with self.assertRaises(EmitterClosed):
            first.emit({"a": 1})
        self.assertEqual(first.stats().state, State.CLOSED)
        book = r.Book()
        second = self.emitter(self.serve(book).url)
        self.assertTrue(second.flush(LONG))
        self.assertEqual(book.order, ids)
        self.assertEqual([one["id"] for one in self.receipts()], ids)

    def test_a_vault_killed_mid_run_loses_and_doubles_nothing(self):
        journal, port, ids = self.dir / "journal", "0", []
        emitter, vault = None, None
        for life in range(4):
            program = [sys.executable, str(HERE / "receiver.py"), port, str(journal)]
            vault = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
            port = vault.stdout.readline().strip()
            emitter = emitter or self.emitter(f"http://127.0.0.1:{port}", batch_events=20)
            emitter.resume()
            for n in range(250):
                ids.append(emitter.emit({"life": life, "n": n}))
            if life < 3:
                # Whatever it does now, it does no more.
                vault.send_signal(signal.SIGKILL)
            else:
                self.assertTrue(emitter.flush(LONG), emitter.stats())
                vault.kill()
            vault.wait()
            vault.stdout.close()
        taken = [json.loads(line)["id"] for line in journal.read_bytes().splitlines()]
        self.assertEqual(taken, ids)
        self.assertEqual([one["id"] for one in self.receipts()], ids)
        self.assertGreater(emitter.stats().counts.failures, 0)

    def test_an_application_killed_mid_run_loses_nothing_it_was_promised(self):
        book = r.Book()
        served = self.serve(book)
        code = (
            "import sys; from chancery_client import Emitter\n"
            "e = Emitter(sys.argv[1], 't', 'app', sys.argv[2], segment_bytes=2000)\n"
            "while True: print(e.emit({'a': 1}), flush=True)\n"
        )
        promised = []
        for lines in (1, 40, 150):
            program = [sys.executable, "-c", code, served.url, str(self.dir / "spool")]
            app = subprocess.Popen(
                program,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(HERE.parent)},
            )
            promised += [app.stdout.readline().strip() for _ in range(lines)]
            app.send_signal(signal.SIGKILL)
            # What it said before it was killed, it had taken; half a line says nothing.
            promised += [one.strip() for one in app.stdout if one.endswith("\n")]
            app.wait()
            app.stdout.close()
        emitter = self.emitter(served.url)
        self.assertTrue(emitter.flush(LONG))
        self.assertLessEqual(set(promised), set(book.order))
        receipts = [one["id"] for one in self.receipts()]
        self.assertEqual(len(receipts), len(set(receipts)))
        self.assertEqual((set(receipts), book.clashes), (set(book.order), []))

    def test_a_forked_process_must_not_use_it(self):
        emitter = self.emitter(self.serve(r.Book()).url)
        emitter._pid += 1
        with self.assertRaises(EmitterClosed):
            emitter.emit({"a": 1})
        emitter._pid -= 1


class Addresses(Case):
    def test_only_what_a_request_can_hold_is_taken(self):
        for url, token, source in [
            ("http://vault.example", "t", "app"),
            ("http://10.0.0.1:1", "t", "app"),
            ("http://127.0.0.1.example", "t", "app"),
            ("https://a@vault.example", "t", "app"),
            ("https://vault.example/?x", "t", "app"),
            ("https://vault.example/#x", "t", "app"),
            ("https://vault. example", "t", "app"),
            ("ftp://127.0.0.1", "t", "app"),
            ("vault.example", "t", "app"),
            ("https://", "t", "app"),
            ("https://vault.example", "", "app"),
            ("https://vault.example", "a\r\nX: y", "app"),
            ("https://vault.example", "a b", "app"),
            ("https://vault.example", "t", "a&b"),
            ("https://vault.example", "t", ""),
        ]:
            with self.assertRaises(Error, msg=url):
                Emitter(url, token, source, self.dir / "spool")

    @unittest.skipUnless(shutil.which("openssl"), "needs openssl")
    def test_certificates_are_verified(self):
        def openssl(*args):
            subprocess.run(["openssl", *args], cwd=self.dir, check=True, capture_output=True)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        for name in ("ca", "other"):
            openssl("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                    "-subj", f"/CN={name}", "-days", "2", "-addext", "keyUsage=keyCertSign")
        for name, san in (("good", "IP:127.0.0.1"), ("wrong", "DNS:vault.example")):
            openssl("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                    "-subj", f"/CN={name}", "-days", "2", "-CA", "ca.pem", "-CAkey", "ca.key",
                    "-addext", f"subjectAltName={san}",
                    "-addext", "basicConstraints=critical,CA:FALSE")
        pair = lambda name: (self.dir / f"{name}.pem", self.dir / f"{name}.key")
        book = r.Book()
        good = self.serve(book, certificate=pair("good"))
        wrong = self.serve(book, certificate=pair("wrong"))
        for url, ca in ((good.url, "other.pem"), (wrong.url, "ca.pem"), (good.url, None)):
            ca_file = None if ca is None else self.dir / ca
            refused = Emitter(url, "t", "app", self.dir / f"spool-{url[-5:]}-{ca}", ca_file)
            refused.emit({"a": 1})
            with refused._changed:
                waits = lambda: refused._state is State.WAITING
                self.assertTrue(refused._changed.wait_for(waits, LONG))
            self.assertIn("CERTIFICATE_VERIFY_FAILED", refused.stats().why.detail)
            refused.close()
        self.assertEqual(book.requests, [])
        emitter = self.emitter(good.url, ca_file=self.dir / "ca.pem")
        emitter.emit({"a": 1})
        self.assertTrue(emitter.flush(LONG), emitter.stats())


if __name__ == "__main__":
    unittest.main()
