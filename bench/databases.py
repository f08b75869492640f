#!/usr/bin/env python3
"""Databases for workers: what a server, a template and a clone cost, beside what people have today.

    databases.py goals [--rounds 7]     ready, clone, workers and reset, and whether each meets its goal
    databases.py ready [--rounds 5]     a server that takes connections: initdb and start, beside hasten's cached copy
    databases.py clone [--rounds 20]    CREATE DATABASE ... TEMPLATE of 300 tables, the default beside hasten's strategy
    databases.py workers [--rounds 3]   databases for four workers: set up in each, cloned, and cloned with all cached
    databases.py reset [--rounds 40]    14 rows in 5 of 300 tables, committed, and what it takes to be rid of them
    databases.py servers [--rounds 7]   four workers' databases, all cached: one server, a server for each
    databases.py pooler [--rounds 10]   tests with new connections each, straight to the server and through the pooler
    databases.py settings [--rounds 10] the same clone on servers with different shared_buffers

Interleaved; medians of wall time, and CPU time of all processes of the server. In `workers` hasten's times begin with
no server, those of the first rows with a server that is ready; the CPU of a template's build is not in "nothing
cached", as that server was started again. Needs PostgreSQL, psycopg, and the built program beside this interpreter.
As root, what is compared runs as the user postgres, as hasten's own server does.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import psycopg

HASTEN = pathlib.Path(sys.executable).with_name("hasten")
TICK = os.sysconf("SC_CLK_TCK")
N_TABLES = 300
CLONE = "CREATE DATABASE bench_clone TEMPLATE bench_template"


def schema(n: int = N_TABLES) -> str:
    """n tables with four indexes each."""
    table = (
        "CREATE TABLE t{0}(id serial PRIMARY KEY, a int, b text, c timestamptz);\n"
        "CREATE INDEX ON t{0}(a);\nCREATE INDEX ON t{0}(b);\nCREATE INDEX ON t{0}(c);\n"
    )
    return "".join(table.format(i) for i in range(n))


def programs() -> pathlib.Path:
    """The folder of initdb: of PATH, else the newest of Debian's."""
    found = shutil.which("initdb")
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if not found and not folders:
        raise SystemExit("databases: no PostgreSQL server here")
    return pathlib.Path(found).parent if found else folders[-1]


def as_server() -> dict[str, object]:
    """Popen's arguments for a process of the server."""
    root = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    return {"cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **root}


def cpu_of(data: str) -> float:
    """Seconds of all processes that stand in a server's data folder, and of those of their children that have ended."""
    total = 0.0
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(entry / "cwd") == data:
                    fields = (entry / "stat").read_text().rpartition(") ")[2].split()
                    total += sum(map(int, fields[13:15])) / TICK + own_cpu(int(entry.name))
    return total


def own_cpu(pid: int) -> float:
    """Seconds of one process, to the nanosecond."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@dataclasses.dataclass
class Server:
    """One that runs: how to connect to database "postgres", and where its data are."""

    conninfo: str
    data: str

    def run(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.conninfo, dbname=database, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()


@contextlib.contextmanager
def keeper(cache: pathlib.Path, *args: str) -> Iterator[tuple[str, Server]]:
    """hasten's: its control socket, and the server once somebody has waited for it."""
    held = subprocess.Popen(["sleep", "3600"])
    command = [HASTEN, "db", "keep", "--pid", str(held.pid), "--root", "/", "--postgres", "--workers", "4", *args]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"XDG_CACHE_HOME": str(cache)}
    )
    try:
        assert process.stdout is not None
        facts = dict(line.rstrip("\n").split(" ", 1) for line in process.stdout if " " in line)
        sockets = facts["postgres"].partition("host=")[2].partition("&")[0]
        data = str(pathlib.Path(sockets).parent / "data")
        yield facts["control"], Server(f"host={sockets} user=postgres", data)
    finally:
        for one in (process, held):
            one.terminate()
            one.wait()


def ask(control: str, request: str) -> str:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(control)
        s.sendall(request.encode() + b"\n")
        answer = b""
        while part := s.recv(4096):
            answer += part
    if not answer.startswith(b"ok"):
        raise SystemExit(f"databases: {answer.decode()}")
    return answer.decode()[3:].rstrip("\n")


@contextlib.contextmanager
def by_hand(*settings: str) -> Iterator[Server]:
    """initdb and pg_ctl start -w, as test suites do it, without fsync, in the same file system as hasten's."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="bench-databases-", dir=base)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data, bin_folder = f"{folder}/data", programs()
    options = " ".join(["-F", "-k", folder, "-c listen_addresses=", *(f"-c {s}" for s in settings)])
    try:
        subprocess.run([bin_folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust"], check=True, **as_server())
        subprocess.run([bin_folder / "pg_ctl", "-D", data, "-w", "-o", options, "start"], check=True, **as_server())
        yield Server(f"host={folder} user=postgres", data)
    finally:
        subprocess.run([bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=False, **as_server())
        shutil.rmtree(folder)


Rows = dict[str, list[tuple[float, float]]]


def medians(values: list[tuple[float, float]]) -> tuple[float, float]:
    wall, cpu = (statistics.median(column) for column in zip(*values, strict=True))
    return wall, cpu


def show(rows: Rows) -> None:
    """name -> (wall, CPU) of each round; the first is the reference."""
    base = [statistics.median(values) for values in zip(*next(iter(rows.values())), strict=True)]
    for name, values in rows.items():
        wall, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        ratios = f"{wall / base[0]:5.2f}  {cpu / base[1]:5.2f}" if base[1] else f"{wall / base[0]:5.2f}      -"
        print(f"{name:28} wall {wall * 1e3:8.1f} ms   CPU {cpu * 1e3:8.1f} ms   ratios {ratios}")


def timed(action: Callable[[], object], data: str, other: int = 0) -> tuple[float, float]:
    """Wall and CPU time of an action; other: of a process beside the server."""
    before, start = cpu_of(data) + (own_cpu(other) if other else 0), time.perf_counter()
    action()
    wall = time.perf_counter() - start
    return wall, cpu_of(data) + (own_cpu(other) if other else 0) - before


def ready(rounds: int, cache: pathlib.Path) -> Rows:
    rows: Rows = {"initdb and start": [], "hasten, cached server": []}
    with keeper(cache) as (control, _server):
        ask(control, "ready postgres")
    for _ in range(rounds):
        usage, start = os.times(), time.perf_counter()
        with by_hand() as server:
            wall = time.perf_counter() - start
            now = os.times()
            spent = now.children_user + now.children_system - usage.children_user - usage.children_system
            rows["initdb and start"].append((wall, spent + cpu_of(server.data)))
        start = time.perf_counter()
        with keeper(cache) as (control, server):
            ask(control, "ready postgres")
            wall = time.perf_counter() - start
            own = pathlib.Path(f"/proc/{keeper_of(control)}/stat").read_text().rpartition(") ")[2].split()
            rows["hasten, cached server"].append((wall, cpu_of(server.data) + sum(map(int, own[11:15])) / TICK))
    return rows


def keepers_of(control: str) -> list[int]:
    """The process that listens there, and those forked from it that are still there; it is the first."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().split(b"\0")
                if b"keep" in command and pathlib.Path(control).parent.name.encode() in command:
                    found.append((int((entry / "stat").read_text().rpartition(") ")[2].split()[19]), int(entry.name)))
    return [pid for _start, pid in sorted(found)]


def keeper_of(control: str) -> int:
    found = keepers_of(control)
    if not found:
        raise SystemExit("databases: the keeper has ended")
    return found[0]


def make_template(server: Server) -> None:
    server.run("CREATE DATABASE bench_template")
    server.run(schema(), "VACUUM (FREEZE, ANALYZE)", database="bench_template")
    server.run("CHECKPOINT")


def clone(rounds: int, cache: pathlib.Path) -> Rows:
    rows: Rows = {"CREATE DATABASE's default": [], "FILE_COPY": []}
    with keeper(cache) as (control, server):
        ask(control, "ready postgres")
        make_template(server)
        for i in range(rounds):
            for name in list(rows) if i % 2 else list(reversed(rows)):
                sql = CLONE + (" STRATEGY FILE_COPY" if name == "FILE_COPY" else "")
                rows[name].append(timed(lambda sql=sql: server.run(sql), server.data))
                server.run("DROP DATABASE bench_clone")
    return rows


def lease_four(control: str) -> None:
    """At the same time, as workers do."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: ask(control, f"lease postgres gw{n} 1"), range(4)))


def folder_of(server: Server, each: bool) -> pathlib.Path:
    """In which all servers of a run lie."""
    folder = pathlib.Path(server.data).parent
    return folder.parent if each else folder


def cpu_of_run(control: str, server: Server, each: bool) -> float:
    """Seconds of a keeper, of its servers, and of those of its children that have ended."""
    own = pathlib.Path(f"/proc/{keeper_of(control)}/stat").read_text().rpartition(") ")[2].split()
    folder = folder_of(server, each)
    running = sum(cpu_of(str(data)) for data in (folder / "data", *folder.glob("w-*/data")))
    return sum(map(int, own[11:15])) / TICK + running


def workers(rounds: int, cache: pathlib.Path) -> Rows:
    kinds = {
        "hasten, nothing cached": ["--postgres-each"],
        "hasten, cached": ["--postgres-each"],
        "one server, nothing cached": [],
        "one server, cached": [],
    }
    names = ("set up in each worker", "set up once", *kinds)
    rows: Rows = {name: [] for name in names}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-databases-"))
    script = folder / "schema.sql"
    script.write_text(schema())
    psql = shutil.which("psql") or str(programs() / "psql")

    def set_up(server: Server, numbers: range) -> None:
        for i in numbers:
            server.run(f"CREATE DATABASE w{i}")
        ones = [
            subprocess.Popen(
                [psql, "-qX", "-f", script, "-d", f"{server.conninfo} dbname=w{i}"], stdout=subprocess.DEVNULL
            )
            for i in numbers
        ]
        for one in ones:
            one.wait()

    with keeper(cache) as (control, _server):
        ask(control, "ready postgres")
    for i in range(rounds):
        with keeper(cache) as (control, server):
            ask(control, "ready postgres")
            rows[names[0]].append(timed(lambda server=server: set_up(server, range(4)), server.data))
            rows[names[1]].append(timed(lambda server=server: set_up(server, range(4, 5)), server.data))
        for name, more in kinds.items():
            start = time.perf_counter()
            key = f"{os.getpid():08x}{i:08x}{len(more)}"
            with keeper(cache, f"--postgres-sql={script}", f"--postgres-key={key}", *more) as (control, server):
                lease_four(control)
                wall = time.perf_counter() - start
                rows[name].append((wall, cpu_of_run(control, server, bool(more))))
    shutil.rmtree(folder)
    return rows


def write_rows(connection: psycopg.Connection, number: int) -> None:
    for i in range(14):
        connection.execute(f"INSERT INTO t{(number * 5 + i % 5) % N_TABLES}(a, b) VALUES (%s, 'x')", (i,))


def reset(rounds: int, cache: pathlib.Path) -> Rows:
    names = (
        "TRUNCATE of all tables",
        "dropped and cloned again",
        "hasten's exact reset",
        "hasten's, nothing written",
        "Django's flush",
    )
    rows: Rows = {name: [] for name in names}
    script = cache / "schema.sql"
    script.write_text(schema())
    tables = ", ".join(f"t{i}" for i in range(N_TABLES))
    arguments = (f"--postgres-sql={script}", f"--postgres-key={os.getpid():08x}", "--postgres-reset=exact")
    with keeper(cache, *arguments) as (control, server):
        url = ask(control, "lease postgres gw0 1")
        template = f"hasten_t_{os.getpid():08x}"
        connection = psycopg.connect(url, autocommit=True)
        server.run(f"CREATE DATABASE bench_flush TEMPLATE {template} STRATEGY FILE_COPY")
        flushed = psycopg.connect(server.conninfo, dbname="bench_flush", autocommit=True)
        admin = psycopg.connect(server.conninfo, dbname="postgres", autocommit=True)
        pid = keeper_of(control)
        for i in range(rounds):
            write_rows(flushed, i)
            flush = f"TRUNCATE {tables} RESTART IDENTITY CASCADE"
            rows[names[0]].append(timed(lambda sql=flush: flushed.execute(sql), server.data))

            def flush_as_django() -> None:
                found = flushed.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200::oid")
                flushed.execute("TRUNCATE " + ", ".join(name for (name,) in found.fetchall()))

            write_rows(flushed, i)
            rows[names[4]].append(timed(flush_as_django, server.data))

            def clone_again() -> None:
                admin.execute("DROP DATABASE IF EXISTS bench_clone WITH (FORCE)")
                admin.execute(f"CREATE DATABASE bench_clone TEMPLATE {template} STRATEGY FILE_COPY")

            rows[names[1]].append(timed(clone_again, server.data))
            ask(control, "clean postgres gw0 1")
            write_rows(connection, i)
            rows[names[2]].append(timed(lambda: ask(control, "clean postgres gw0 1"), server.data, pid))
            assert connection.execute(f"SELECT count(*) FROM t{i * 5 % N_TABLES}").fetchone() == (0,)
            rows[names[3]].append(timed(lambda: ask(control, "clean postgres gw0 1"), server.data, pid))
        for one in (connection, flushed, admin):
            one.close()
    return rows


def memory_of(folder: pathlib.Path) -> tuple[int, float]:
    """Processes of the servers whose data lie below a folder, and their proportional set sizes in MB."""
    count, total = 0, 0
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(entry / "cwd").startswith(f"{folder}/"):
                    count += 1
                    lines = (entry / "smaps_rollup").read_text().splitlines()
                    total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return count, total / 1024


def bytes_below(folder: pathlib.Path) -> float:
    """MB on the disk, or in memory, of a folder: each file once, however many names it has."""
    return int(subprocess.run(["du", "-sk", folder], capture_output=True, check=True).stdout.split()[0]) / 1024


def spoilt(control: str) -> float:
    """Wall time of the reset after a test that has changed more than its database."""
    url = ask(control, "lease postgres gw0 1")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE clerk")
    connection.close()
    start = time.perf_counter()
    if ask(control, "clean postgres gw0 1") != "the server":
        raise SystemExit("databases: a role was made, and nobody has seen it")
    return time.perf_counter() - start


def servers(rounds: int, cache: pathlib.Path) -> Rows:
    names = {"one server": [], "a server for each worker": ["--postgres-each"]}
    rows: Rows = {name: [] for name in names}
    said: dict[str, list[str]] = {name: [] for name in names}
    again: list[float] = []
    script = cache / "schema.sql"
    script.write_text(schema())
    arguments = (f"--postgres-sql={script}", f"--postgres-key={os.getpid():08x}", "--postgres-reset=exact")
    with keeper(cache, *arguments) as (control, _server):
        ask(control, "ready postgres")
    for i in range(rounds):
        for name in list(names) if i % 2 else list(reversed(names)):
            start = time.perf_counter()
            with keeper(cache, *arguments, *names[name]) as (control, server):
                lease_four(control)
                wall = time.perf_counter() - start
                rows[name].append((wall, cpu_of_run(control, server, bool(names[name]))))
                folder = folder_of(server, bool(names[name]))
                count, pss = memory_of(folder)
                said[name].append(f"{count} processes, PSS {pss:.0f} MB, files {bytes_below(folder):.0f} MB")
                if names[name]:
                    again.append(spoilt(control))
    for name, texts in said.items():
        print(f"{name}: {texts[-1]}")
    print(f"a server again, after a test that has made a role: wall {statistics.median(again) * 1e3:.1f} ms")
    return rows


def goals(rounds: int, cache: pathlib.Path) -> Rows:
    """Every figure that issue and documentation promise, beside what it is compared with."""
    rows: Rows = {}
    for action in (ready, clone, workers, reset):
        folder = cache / action.__name__
        folder.mkdir()
        found = action(rounds, folder)
        print(f"{action.__name__}, {rounds} rounds")
        show(found)
        rows |= found
    wall = {name: medians(values)[0] for name, values in rows.items()}
    for what, value, most, unit in (
        ("server ready", wall["hasten, cached server"], 0.6, "s"),
        ("four databases, nothing cached", wall["hasten, nothing cached"], wall["set up once"] + 0.3, "s"),
        ("four databases, cached", wall["hasten, cached"], 0.3, "s"),
        ("four databases on one server, cached", wall["one server, cached"], 0.3, "s"),
        (
            "four databases, cached: of setting up in each",
            wall["hasten, cached"] / wall["set up in each worker"],
            0.10,
            "",
        ),
        ("CREATE DATABASE's default, of a clone", wall["CREATE DATABASE's default"] / wall["FILE_COPY"], -2.4, ""),
        ("exact reset", wall["hasten's exact reset"], 0.002, "s"),
    ):
        met = value >= -most if most < 0 else value <= most
        print(
            f"{what:40} {value:8.4f} {unit:1}   goal: {'at least' if most < 0 else 'at most'} {abs(most):.4f}   "
            f"{'met' if met else 'MISSED'}"
        )
    return {}


def one_test(connections: int, url: str) -> None:
    """What a test of an application does: its session rolls back, its engine is disposed."""
    for _ in range(connections):
        with psycopg.connect(url) as connection:
            for i in range(2):
                connection.execute(f"INSERT INTO t{i}(a, b) VALUES (%s, 'x')", (i,))
            for i in range(6):
                connection.execute(f"SELECT id, a, b, c FROM t{i} WHERE a = %s ORDER BY id", (i,)).fetchall()
            connection.rollback()
        connection.close()


def pooler_of(control: str) -> list[int]:
    """The process that is still there when nothing else goes on."""
    time.sleep(3)
    return keepers_of(control)[1:]


def pooler(rounds: int, cache: pathlib.Path) -> Rows:
    script = cache / "schema.sql"
    script.write_text(schema())
    ways = {"straight": "false", "through the pooler": "true"}
    rows: Rows = {}
    with contextlib.ExitStack() as stack:
        urls, data, processes = {}, {}, {}
        for name, how in ways.items():
            arguments = (f"--postgres-sql={script}", f"--postgres-key={os.getpid():08x}", f"--pooler={how}")
            control, server = stack.enter_context(keeper(cache, *arguments))
            urls[name], data[name] = ask(control, "lease postgres gw0 1"), server.data
            processes[name] = pooler_of(control)
        for connections in (1, 3):
            rows = {way: [] for name in ways for way in (name, f"{name}, its CPU too")}
            for i in range(rounds):
                for name in list(ways) if i % 2 else list(reversed(ways)):

                    def fifty(url: str = urls[name], n: int = connections) -> None:
                        for _ in range(50):
                            one_test(n, url)
                        time.sleep(0.05)  # until the last sessions have ended and are counted

                    before = sum(map(own_cpu, processes[name]))
                    wall, cpu = timed(fifty, data[name])
                    rows[name].append((wall, cpu))
                    rows[f"{name}, its CPU too"].append((wall, cpu + sum(map(own_cpu, processes[name])) - before))
            del rows["straight, its CPU too"]
            print(f"50 tests, each with {connections} new connection{'s' * (connections > 1)} of 8 statements:")
            if connections == 1:
                show(rows)
    return rows


def settings(rounds: int, _cache: pathlib.Path) -> Rows:
    sizes = ("128MB", "8MB", "16MB", "32MB", "64MB")
    rows: Rows = {f"shared_buffers={size}": [] for size in sizes}
    with contextlib.ExitStack() as stack:
        servers = {
            f"shared_buffers={size}": stack.enter_context(
                by_hand(f"shared_buffers={size}", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
            )
            for size in sizes
        }
        for server in servers.values():
            make_template(server)
        for _ in range(rounds):
            for name, server in servers.items():
                rows[name].append(timed(lambda s=server: s.run(CLONE + " STRATEGY FILE_COPY"), server.data))
                server.run("DROP DATABASE bench_clone")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {
        "ready": (ready, 5),
        "clone": (clone, 20),
        "workers": (workers, 3),
        "reset": (reset, 40),
        "settings": (settings, 10),
        "servers": (servers, 7),
        "pooler": (pooler, 10),
        "goals": (goals, 7),
    }
    parser.add_argument("what", choices=commands)
    parser.add_argument("--rounds", type=int, default=0)
    args = parser.parse_args()
    action, rounds = commands[args.what]
    with tempfile.TemporaryDirectory(prefix="bench-databases-") as folder:
        found = action(args.rounds or rounds, pathlib.Path(folder))
    if found:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
