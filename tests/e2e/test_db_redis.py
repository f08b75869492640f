"""Redis for each worker: a server of its own, from one image, put right between tests, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, find_program, wait_until
from servers import asker

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.skipif(not shutil.which("redis-server"), reason="no Redis server")

MAKE = """
    import redis


    def make(url):
        server = redis.Redis.from_url(url)
        server.set("who", "template")
        server.close()
"""
ONE = """
    import os
    import pathlib
    import time

    import redis


    def meet(own, other):
        pathlib.Path(own).touch()
        end = time.monotonic() + 60
        while not pathlib.Path(other).exists():
            assert time.monotonic() < end, "the other worker does not come"
            time.sleep(0.01)


    def test_{own}(hasten_redis):
        server = redis.Redis(**hasten_redis.params)
        assert server.get("who") == b"template"
        server.set("who", "{own}")
        heard = server.pubsub()
        heard.subscribe("all")
        meet("{own}.here", "{other}.here")
        assert server.get("who") == b"{own}"
        assert server.publish("all", "x") == 1
        assert os.environ["REDIS_URL"] == hasten_redis.url
        meet("{own}.done", "{other}.done")
        heard.close()
        server.close()
"""
SETTINGS = '[tool.hasten.db]\nredis = { setup = "make:make", files = ["make.py"], env = "REDIS_URL" }\n'


@pytest.fixture
def two(suite: Any) -> Path:
    folder: Path = suite(
        {"make.py": MAKE, "test_a.py": ONE.format(own="a", other="b"), "test_b.py": ONE.format(own="b", other="a")}
    )
    (folder / "pytest.ini").unlink(missing_ok=True)
    (folder / "pyproject.toml").write_text(SETTINGS)
    return folder


def servers_in(folder: Path) -> list[int]:
    """Processes of Redis servers whose socket lies there."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(folder).encode() + b"/r/" in line and b"keep" not in line:
            found.append(int(entry.name))
    return found


def test_two_workers_have_servers_of_their_own_from_one_template(two: Path, run_hasten: Any, cache: Any) -> None:
    builds = []
    for _ in range(2):
        for name in ("a.here", "b.here", "a.done", "b.done"):
            (two / name).unlink(missing_ok=True)
        run = run_hasten(two, "-n", "2", env=cache, timeout=120)
        assert run.outcomes() == {"test_a": "passed", "test_b": "passed"}, run.describe()
        builds.append(len(run.events("db_template_build")))
    assert builds == [1, 0]
    listed = subprocess.run(
        [find_program(), "db", "list", "--json"], env=os.environ | cache, capture_output=True, text=True, check=True
    )
    assert [e["what"] for e in json.loads(listed.stdout) if e["kind"] == "redis"] == ["template"]


def test_no_redis_server_is_one_line(two: Path, run_hasten: Any, cache: dict[str, str]) -> None:
    run = run_hasten(two, "-n", "2", env=cache | {"HASTEN_REDIS": "/nowhere"}, timeout=60)
    assert run.status == 4, run.describe()
    lines = [line for line in (run.out + run.err).splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1, run.describe()
    assert "no Redis server in HASTEN_REDIS ('/nowhere')" in lines[0]


# ---- the keeper alone


@pytest.fixture
def keep(keepers: Any, cache: dict[str, str]) -> Callable[..., tuple[subprocess.Popen[str], Path, Callable[..., Any]]]:
    """keep(*arguments) -> a keeper, its folder, and ask(verb, worker="gw0", pid=1) -> a client of its server."""

    def start(*args: str) -> tuple[subprocess.Popen[str], Path, Callable[..., Any]]:
        process, facts = keepers("--redis", *args, env=os.environ | cache)
        say = asker(facts["control"], "redis")
        return process, Path(facts["control"]).parent, lambda *a, **b: redis.Redis.from_url(say(*a, **b))

    return start


def everything(server: Any) -> Any:
    """What a test could leave in a server: keys of all databases, functions, users, settings."""
    keys = []
    for number in range(16):
        server.select(number)
        keys += [(number, key, server.dump(key), server.ttl(key)) for key in sorted(server.keys())]
    server.select(0)
    return keys, server.function_list(), server.acl_list(), server.config_get("*"), server.slowlog_len()


def write_all(server: Any) -> None:
    server.flushall()
    for number in (0, 3, 15):
        server.select(number)
        server.set("left", "behind")
        server.rpush("list", *range(200))
        server.xadd("stream", {"a": "b"})
    server.select(0)
    server.function_load("#!lua name=l\nredis.register_function('f', function() return 1 end)")
    server.script_load("return 1")
    server.config_set("maxmemory", "100mb")
    server.config_set("slowlog-log-slower-than", "0")
    server.ping()


@pytest.mark.parametrize("seeded", [False, True])
def test_a_reset_leaves_nothing_of_a_test_and_keeps_connections(tmp_path: Path, keep: Any, seeded: bool) -> None:
    script = tmp_path / "set_up.sh"
    script.write_text('redis-cli -s "${HASTEN_DB_URL#unix://}" set seed 7\n')
    arguments = [f"--redis-command=sh {script}"] if seeded else []
    _process, _folder, ask = keep(*arguments)
    server, other = ask("lease"), ask("lease", "gw1")
    before, pid = everything(server), server.info("server")["process_id"]
    assert len(before[0]) == seeded
    for _ in range(3):
        write_all(server)
        assert everything(other)[0] == before[0]
        ask("reset").close()
        assert everything(server) == before
        assert not server.script_exists("e0e1f9fabfc9d4800c877a703b823ac0578ff8db")[0]
    assert server.info("server")["process_id"] == pid
    server.close()
    other.close()


@pytest.mark.parametrize(
    "change", [("ACL", "SETUSER", "somebody"), ("REPLICAOF", "127.0.0.1", "1"), ("CONFIG", "SET", "requirepass", "x")]
)
def test_what_no_flush_takes_back_ends_the_server(keep: Any, change: tuple[str, ...]) -> None:
    _process, _folder, ask = keep()
    server = ask("lease")
    before = everything(server)
    server.execute_command(*change)
    server.close()
    again = ask("reset")
    assert everything(again) == before
    again.close()


def test_a_server_that_was_killed_is_there_again(keep: Any) -> None:
    _process, folder, ask = keep()
    server = ask("lease")
    server.set("a", 1)
    pid = server.info("server")["process_id"]
    server.close()
    os.kill(pid, signal.SIGKILL)
    trouble = folder / "trouble"
    wait_until(lambda: trouble.exists() and "\n" in trouble.read_text(), 60, "the word that it was killed")
    assert trouble.read_text().startswith("the Redis server of gw0 was killed by SIGKILL")
    again = ask("lease")
    assert again.keys() == []
    again.close()


def test_nothing_listens_but_a_socket_that_is_its_users_alone(keep: Any) -> None:
    _process, folder, ask = keep()
    server = ask("lease")
    assert server.config_get("port") == {"port": "0"}
    assert (folder / "r").stat().st_mode & 0o777 == 0o700
    assert server.config_get("save") == {"save": ""}
    server.close()


def test_a_killed_keeper_takes_its_servers_along(keep: Any) -> None:
    as_it_was = signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as a shell has it for what runs in the background
    process, folder, ask = keep()
    signal.signal(signal.SIGQUIT, as_it_was)
    for worker in ("gw0", "gw1"):
        ask("lease", worker).close()
    assert len(servers_in(folder)) == 2
    process.kill()
    process.wait(60)
    wait_until(lambda: not servers_in(folder), 60, "the servers' end")
    subprocess.run([find_program(), "db", "prune"], check=True)
    assert not folder.exists()


def test_another_process_gets_a_new_server(keep: Any) -> None:
    _process, _folder, ask = keep()
    first = ask("lease", pid=11)
    first.set("a", 1)
    second = ask("lease", pid=12)
    assert second.keys() == []
    first.close()
    second.close()


def test_a_command_that_fails_is_said_and_leaves_no_template(suite: Any, start_hasten: Any, cache: Any) -> None:
    folder = suite({"test_x.py": "def test_x(hasten_redis): pass\n"})
    (folder / "pytest.ini").unlink(missing_ok=True)
    (folder / "pyproject.toml").write_text(
        '[tool.hasten.db]\nredis = { setup = "echo nothing works; exit 3", files = ["test_x.py"] }\n'
    )
    run: Run = start_hasten(folder, "-n", "2", env=cache)
    run.finish(120)
    assert run.status == 1, run.describe()
    assert "failed with status 3: nothing works" in run.out
    assert not run.events("db_template_end", filled=True)
