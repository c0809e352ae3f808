"""What may be emitted."""

import json
import pathlib
import time
import unittest
import uuid

from chancery_client import InvalidEvent
from chancery_client._answer import judge
from chancery_client._event import EVENT_BYTES_MAX, id_of, prepare, uuid7


class Events(unittest.TestCase):
    def test_an_event_gets_an_id_and_keeps_one(self):
        event = {"action": "x", "n": [1, 2.5, None, True, "\u00e4\n"]}
        name, line = prepare(event)
        self.assertEqual(json.loads(line), {"id": name, **event})
        self.assertNotIn(b"\n", line)
        self.assertNotIn("id", event)
        self.assertEqual(id_of(line), name)
        self.assertEqual(prepare({"id": "e-1"}), ("e-1", b'{"id":"e-1"}'))

    def test_ids_are_uuids_of_version_7_of_now(self):
        before = time.time_ns() // 1_000_000
        made = [uuid.UUID(uuid7()) for _ in range(1_000)]
        after = time.time_ns() // 1_000_000
        self.assertEqual(len(set(made)), 1_000)
        for one in made:
            self.assertEqual((one.version, one.variant), (7, uuid.RFC_4122))
            self.assertTrue(before <= one.int >> 80 <= after)

    def test_what_the_vault_would_refuse_is_refused_here(self):
        deep = {}
        for _ in range(64):
            deep = {"a": deep}
        circle = {}
        circle["a"] = circle
        for event, code in [
            ([], "EVENT_NOT_OBJECT"),
            ("{}", "EVENT_NOT_OBJECT"),
            ({"a": float("nan")}, "JSON_NUMBER"),
            ({"a": float("inf")}, "JSON_NUMBER"),
            ({"a": b"x"}, "JSON_SYNTAX"),
            ({"a": {1}}, "JSON_SYNTAX"),
            ({1: "a", "1": "b"}, "JSON_SYNTAX"),
            ({"a": "\ud800"}, "JSON_SURROGATE"),
            (deep, "JSON_DEPTH"),
            (circle, "JSON_DEPTH"),
            ({"id": 7}, "FIELD_TYPE"),
            ({"id": ""}, "FIELD_TYPE"),
            ({"id": None}, "FIELD_TYPE"),
            ({"id": "x" * 129}, "FIELD_TYPE"),
            ({"a": "x" * EVENT_BYTES_MAX}, "EVENT_TOO_LARGE"),
        ]:
            with self.assertRaises(InvalidEvent) as raised:
                prepare(event)
            self.assertEqual(raised.exception.code, code)
        prepare({"a": "x" * (EVENT_BYTES_MAX - 60)})


class Answers(unittest.TestCase):
    def test_answers_mean_what_the_table_says(self):
        rows = json.loads((pathlib.Path(__file__).parent / "answers.json").read_text())
        self.assertGreater(len(rows), 30)
        for row in rows:
            body = row["body"]
            body = body if isinstance(body, str) else json.dumps(body)
            verdict = judge(row["status"], body.encode(), row["n"])
            is_list = verdict.kind == "fates"
            fates = " ".join(fate.kind for fate in verdict.fates)
            self.assertEqual(fates if is_list else verdict.kind.upper(), row["means"], row)

    def test_a_long_clause_is_cut_and_a_code_is_a_code(self):
        body = json.dumps({"code": "EVENT_X<script>", "detail": "x" * 9_999}).encode()
        why = judge(422, body, 1).fates[0].why
        self.assertEqual((why.code, len(why.detail)), ("EVENT_X", 500))
        self.assertNotIn("xxx", repr(why))


if __name__ == "__main__":
    unittest.main()
