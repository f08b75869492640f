"""Wall time, CPU and memory of a command together with everything it starts.

CPU is RUSAGE_CHILDREN of a process that exists for this one measurement. The kernel adds a process to it when it is
waited for, with all that it had waited for itself; a process whose parent died first would be lost, so the measuring
process declares itself the reaper of its descendants (PR_SET_CHILD_SUBREAPER) and waits for what is left. What stays
uncounted: a child of a parent that ignores SIGCHLD. `self_check` shows that the rest is counted.
"""

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_S = 0.02  # of memory; one sample costs about 1 ms of CPU per 100 MB resident
LEAVE_S = 2.0  # what a descendant gets after the command has ended


class Run:
    """What one command took. Times in seconds, memory in bytes."""

    def __init__(self, status, wall_s, user_s, sys_s, pss_bytes, left, timed_out, processes=()):
        self.status = status  # exit status, or minus the signal that ended it
        self.wall_s = wall_s
        self.user_s = user_s
        self.sys_s = sys_s
        self.cpu_s = user_s + sys_s
        self.pss_bytes = pss_bytes  # highest sum of PSS over the process tree; 0 when it was not sampled
        self.left = left  # names of the processes that had to be killed
        self.timed_out = timed_out
        self.processes = list(processes)  # one dictionary each, see _Sampler; empty when memory was not sampled


def run(argv, cwd=None, env=None, stdout=None, memory=False, timeout_s=3600.0):
    """Runs argv and returns its Run. stdout: path that receives stdout and stderr (none: thrown away)."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_end)
            answer = _measure(argv, cwd, env, stdout, memory, timeout_s)
            os.write(write_end, json.dumps(answer).encode())
            status = 0
        except BaseException as error:  # the parent only sees the exit status: say here what it was
            print(f"measure: {argv[0]}: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    if not data:
        raise RuntimeError(f"could not measure {argv[0]}")
    return Run(**json.loads(data))


def _measure(argv, cwd, env, stdout, memory, timeout_s):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    with open(stdout or os.devnull, "wb") as out:
        start = time.monotonic()
        child = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    sampler = _Sampler() if memory else None
    timed_out = _wait_for(child, start + timeout_s, sampler)
    wall_s = time.monotonic() - start
    left = _reap_rest(0.0 if timed_out else LEAVE_S)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "status": child.returncode,
        "wall_s": wall_s,
        "user_s": used.ru_utime,
        "sys_s": used.ru_stime,
        "pss_bytes": sampler.peak if sampler else 0,
        "left": left,
        "timed_out": timed_out,
        "processes": sampler.processes() if sampler else [],
    }


class _Sampler:
    """Memory of all processes below this one, and of each one alone with the CPU time that it had used by then."""

    def __init__(self):
        self.peak = 0  # highest sum over processes that lived at the same moment
        self.seen = {}

    def sample(self):
        found = {pid: pss(pid) for pid in descendants(os.getpid())}
        self.peak = max(self.peak, sum(found.values()))
        for pid, size in found.items():
            entry = self.seen.setdefault(pid, {"pid": pid, "pss_bytes": 0, "cpu_s": 0.0})
            entry["pss_bytes"] = max(entry["pss_bytes"], size)
            self._look(entry)

    def _look(self, entry):
        try:
            with open(f"/proc/{entry['pid']}/stat", "rb") as stat:
                name, _, rest = stat.read().decode(errors="replace").partition("(")[2].rpartition(") ")
        except OSError:
            return
        fields = rest.split()
        entry["name"] = name
        entry.setdefault("parent", int(fields[1]))  # its own, not who adopted it later
        entry["cpu_s"] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def processes(self):
        """pid, parent (the first), name (the last), pss_bytes (highest), cpu_s (own, up to 20 ms before its end)."""
        return [entry for entry in self.seen.values() if "name" in entry]


def _wait_for(child, deadline, sampler):
    """Waits for the child, sampling memory if asked; kills all and returns True when time runs out."""
    while sampler and child.poll() is None and time.monotonic() < deadline:
        sampler.sample()
        time.sleep(SAMPLE_S)
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
        return False
    except subprocess.TimeoutExpired:
        for pid in descendants(os.getpid()):
            _kill(pid)
        child.wait()
        return True


def _reap_rest(leave_s):
    """Waits for orphans that became ours; kills and names the ones that do not end by themselves."""
    deadline, left = time.monotonic() + leave_s, []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return left
        if pid == 0 and time.monotonic() >= deadline:
            for other in descendants(os.getpid()):
                left.append(_name(other))
                _kill(other)
            deadline = time.monotonic() + LEAVE_S
        elif pid == 0:
            time.sleep(0.005)


def _kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _name(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().strip()
    except OSError:
        return f"pid {pid}"


def descendants(root):
    """Process ids below root, which is not among them, read from one pass over /proc."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    parent = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def pss(pid):
    """Proportional set size in bytes: shared pages are divided among their users. 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
            for line in rollup:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def machine():
    """What a result has to carry to be understood later; nothing that names the machine or its owner."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), model)
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "load": round(os.getloadavg()[0], 2),
    }


ORPHAN = """
import os, sys, time
def burn():
    start = time.process_time()
    while time.process_time() - start < 0.3: pass
if os.fork() == 0:          # the middle process leaves at once, so that its child loses its parent
    if os.fork() == 0:
        burn()
    os._exit(0)
burn()
"""


def self_check():
    """Two processes burn 0.3 s each, one of them an orphan: returns the CPU seconds found, 0.6 and some."""
    found = run([sys.executable, "-S", "-c", ORPHAN])
    if not 0.6 <= found.cpu_s < 1.2 or found.left:
        raise SystemExit(f"measure: an orphan's CPU is lost: found {found.cpu_s:.2f} s of 0.6 s, left {found.left}")
    return found.cpu_s


if __name__ == "__main__":
    print(f"0.6 s burnt, {self_check():.2f} s found")
