"""--trace-out: what ran when, as a file for trace viewers."""

from __future__ import annotations

import json
from itertools import pairwise

SUITE = {
    "test_a.py": """
        import os, pytest, time

        @pytest.fixture
        def slow():
            time.sleep(0.02)
            yield
            time.sleep(0.02)

        @pytest.mark.parametrize("n", range(20))
        def test_many(n, slow): time.sleep(0.01)

        def test_fails(): assert 0
        @pytest.mark.skip
        def test_skipped(): pass
        def test_dies(): os._exit(1)
        @pytest.mark.parametrize("name", ['"quoted"', "back\\\\slash", "\\u00fc"])
        def test_named(name): pass
    """,
}
N = 26


def load(run, path):
    events = json.loads(path.read_text())
    complete = [event for event in events if event["ph"] == "X"]
    assert {event["ph"] for event in events} == {"X", "M"}, run.describe()
    assert all(event["pid"] == 1 and event["ts"] >= 0 and event["dur"] >= 0 for event in complete)
    return events, complete


def of(complete, cat):
    return [event for event in complete if event["cat"] == cat]


def tracks(events):
    named = [event for event in events if event["name"] == "thread_name"]
    return {event["tid"]: event["args"]["name"] for event in named}


def test_one_event_for_each_test_and_no_overlap_within_a_worker(suite, run_hasten):
    folder = suite(SUITE)
    run = run_hasten(folder, "-n2", "--trace-out", "run.json")
    assert run.status == 1
    events, complete = load(run, folder / "run.json")
    tests = of(complete, "test")
    assert len({event["name"] for event in tests}) == len(tests) == N
    outcomes = {event["name"]: event["args"]["outcome"] for event in tests}
    assert [outcomes[f"test_a.py::test_{name}"] for name in ("fails", "skipped", "dies")] == [
        "failed",
        "skipped",
        "crashed",
    ]
    names = tracks(events)
    assert [names[tid] for tid in range(3)] == ["run", "reporter", "template"]
    assert len({event["tid"] for event in tests}) >= 2
    for tid in {event["tid"] for event in tests}:
        assert names[tid] == f"gw{tid - 10}"
        own = sorted(
            (e["ts"], e["ts"] + e["dur"]) for e in of(complete, "test") + of(complete, "worker") if e["tid"] == tid
        )
        assert all(first[1] <= second[0] + 0.002 for first, second in pairwise(own)), own


def test_phases_lie_inside_their_test_and_last_as_long_as_they_did(suite, run_hasten):
    folder = suite(SUITE)
    _, complete = load(run_hasten(folder, "-n2", "-k", "many", "--trace-out=run.json"), folder / "run.json")
    phases = of(complete, "phase")
    for test in of(complete, "test"):
        inside = [
            p for p in phases if p["tid"] == test["tid"] and test["ts"] - 0.002 <= p["ts"] < test["ts"] + test["dur"]
        ]
        assert [p["name"] for p in inside] == ["setup", "call", "teardown"]
        assert abs(sum(p["dur"] for p in inside) - test["dur"]) < 0.01
        assert inside[0]["dur"] >= 20000
        assert inside[1]["dur"] >= 10000
        assert inside[2]["dur"] >= 20000


def test_the_course_of_the_run_is_there_without_gaps(suite, run_hasten):
    folder = suite(SUITE)
    _, complete = load(run_hasten(folder, "-n2", "--trace-out=run.json"), folder / "run.json")
    course = [event for event in of(complete, "run") if event["tid"] == 0]
    assert [event["name"] for event in course] == ["start", "collect", "first fork", "tests", "end"]
    assert course[0]["ts"] == 0
    assert all(abs(a["ts"] + a["dur"] - b["ts"]) < 0.01 for a, b in pairwise(course))
    tests = course[3]
    for event in of(complete, "test"):
        assert tests["ts"] - 1000 <= event["ts"]
        assert event["ts"] + event["dur"] <= tests["ts"] + tests["dur"] + 1000


def test_a_run_that_pytest_does_itself_gives_a_valid_file(suite, run_hasten):
    folder = suite(SUITE)
    run_hasten(folder, "-n0", "-k", "many", "--trace-out=run.json")
    assert json.loads((folder / "run.json").read_text())


def test_a_file_that_cannot_be_written_is_said_before_anything_runs(suite, run_hasten):
    run = run_hasten(suite(SUITE), "-n2", "--trace-out", "no/such/folder/run.json")
    assert run.status == 4
    assert "no/such/folder/run.json" in run.err
    assert "passed" not in run.out
