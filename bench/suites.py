"""The open corpus on disk: what a suite is, and how its sources and environments come into the cache.

cache/
  sdists/                  source distributions, as downloaded
  tools/                   an environment with pip, used for all the others
  xdist/                   pytest-xdist alone: on PYTHONPATH for the runs that are to have it, and for no others
  recorder/                link to recorder.py, so that nothing else of this folder is importable in a run
  wheels/                  hasten, when it was built from a folder
  <suite>/src/             the unpacked source distribution: the working directory of every run
  <suite>/plain, hasten/   two environments, equal but for hasten: the reference must not know that hasten exists
  <suite>/<peer>/          one for each peer that was asked for
  <suite>/runs/            what the last runs of each runner left; home/ is their home
"""

import atexit
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv

from peers import PEERS

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT_CACHE = HERE.parent / ".cache" / "corpus"
CONSTRAINTS = HERE / "constraints.txt"


@dataclasses.dataclass
class Suite:
    name: str
    version: str
    tests: list
    src: str = "."
    args: list = dataclasses.field(default_factory=list)
    deps: list = dataclasses.field(default_factory=list)
    pytest: str = "9.2.0"
    install: bool = False  # the distribution itself is installed too: its tests read its metadata
    report: str = "-rA"  # what makes pytest name every test in its summary
    count: str = ""
    peers: bool = True  # whether other runners are measured on it
    timed: bool = True  # whether it is measured without being named

    @property
    def requirement(self):
        return f"{self.name}=={self.version}"


class Cache:
    """Paths in the cache, made absolute: runs have another working directory."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.sdists = self.root / "sdists"
        self.wheels = self.root / "wheels"
        self.xdist = self.root / "xdist"
        self.recorder = self.root / "recorder"
        self.tools = self.root / "tools"

    def folder(self, suite):
        return self.root / suite.name

    def source(self, suite):
        return self.folder(suite) / "src"

    def environment(self, suite, kind):
        return self.folder(suite) / kind

    def python(self, suite, kind="plain"):
        return self.environment(suite, kind) / "bin" / "python"

    @contextlib.contextmanager
    def lock(self, suite):
        """Keeps others off a suite's folder: two runs in one working directory would disturb each other."""
        folder = self.folder(suite)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{suite.name}: waiting for another process that uses it", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def load(names=(), path=HERE / "corpus.toml"):
    """The suites of the corpus, all or the named ones, in the order of the file."""
    entries = tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8"))["suite"]
    suites = [Suite(**entry) for entry in entries]
    unknown = set(names) - {suite.name for suite in suites}
    if unknown:
        raise SystemExit(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in suites)}")
    return [suite for suite in suites if not names or suite.name in names]


def prepare(cache, suites, hasten, peers=()):
    """Makes everything that runs of these suites need. hasten: a wheel, a folder to build one from, or None."""
    prepare_tools(cache)
    wheel = build_wheel(cache, hasten) if hasten else None
    for suite in suites:
        with cache.lock(suite):
            _prepare_source(cache, suite)
            prepare_environments(cache, suite, peers if suite.peers else ())
            if wheel:
                install_hasten(cache, suite, wheel)
        print(f"{suite.name}: ready", flush=True)


def prepare_tools(cache):
    """What all suites share: folders, pip, pytest-xdist."""
    for folder in (cache.sdists, cache.wheels):
        folder.mkdir(parents=True, exist_ok=True)
    cache.recorder.mkdir(exist_ok=True)
    link = cache.recorder / "recorder.py"
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(HERE / "recorder.py")
    _make_environment(cache.tools, with_pip=True)
    if not _keeps_constraints(cache.xdist) or not (cache.xdist / "xdist").exists():
        shutil.rmtree(cache.xdist, ignore_errors=True)
        _pip(cache, "install", "-c", CONSTRAINTS, "--target", cache.xdist, "--no-deps", "pytest-xdist", "execnet")


def _prepare_source(cache, suite):
    source = cache.source(suite)
    with Stamp(source, [suite.requirement, "with configuration"]) as stamp:
        if stamp.stale:
            _unpack(_download(cache, suite), source)


def prepare_environments(cache, suite, peers=()):
    """The suite's environments: plain pytest's, hasten's (without hasten), and one for each of the peers."""
    own = [*suite.deps] + ([suite.requirement] if suite.install else [])
    for kind in ("plain", "hasten", *peers):
        runner = PEERS[kind].requirements(suite.pytest) if kind in PEERS else [f"pytest=={suite.pytest}"]
        path, wanted = cache.environment(suite, kind), [*runner, *own]
        with Stamp(path, [*wanted, sys.version]) as stamp:
            if stamp.stale or not _keeps_constraints(path):
                shutil.rmtree(path, ignore_errors=True)
                _make_environment(path, with_pip=False)
                _pip_into(cache, suite, kind, "-c", CONSTRAINTS, *wanted)


def _download(cache, suite):
    """The path of the source distribution. Its build backend runs for the metadata, from wheels: only it is built."""
    # PEP 625 normalises names, older distributions do not: ask for what is there, do not guess.
    wanted = {f"{spelling}-{suite.version}.tar.gz" for spelling in (suite.name, suite.name.replace("_", "-"))}
    found = [path for path in cache.sdists.iterdir() if path.name in wanted]
    if not found:
        _pip(cache, "download", "--no-binary", suite.name, "--no-deps", "-d", cache.sdists, suite.requirement)
        found = [path for path in cache.sdists.iterdir() if path.name in wanted]
    if not found:
        raise SystemExit(f"{suite.requirement}: pip left no source distribution in {cache.sdists}")
    return found[0]


def _unpack(archive, target):
    """Unpacks into target, without the folder that a source distribution has at its top."""
    work = target.with_name("unpacking")
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (top,) = work.iterdir()
    top.rename(target)
    work.rmdir()
    if not _has_pytest_configuration(target):
        (target / "pytest.ini").write_text("[pytest]\n")  # else pytest goes on looking above, and finds hasten's own


def _has_pytest_configuration(folder):
    places = {"pyproject.toml": "[tool.pytest", "tox.ini": "[pytest]", "setup.cfg": "[tool:pytest]"}
    if any((folder / name).exists() for name in ("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml")):
        return True
    return any((folder / name).exists() and table in (folder / name).read_text() for name, table in places.items())


def build_wheel(cache, hasten):
    """The path of hasten's wheel, built first when a folder was given."""
    path = pathlib.Path(hasten).resolve()
    if path.is_file():
        return path
    target = cache.wheels / str(os.getpid())  # its own: another process may be installing what it built
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    _pip(cache, "wheel", "--no-deps", "-w", target, path)
    (wheel,) = target.glob("*.whl")
    return wheel


def install_hasten(cache, suite, wheel):
    """Puts the wheel into the suite's own environment, unless this very wheel is there."""
    marker = cache.environment(suite, "hasten") / "hasten.sha256"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if not marker.exists() or marker.read_text() != digest:
        _pip_into(cache, suite, "hasten", "--no-deps", "--force-reinstall", wheel)
        marker.write_text(digest)


def _keeps_constraints(folder):
    """Whether the distributions installed below folder have the versions that constraints.txt asks for."""
    wanted = {}
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        if "==" in line:
            name, version = line.split("==")
            wanted[_normalised(name)] = version
    for path in folder.rglob("*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
        if wanted.get(_normalised(name), version) != version:
            return False
    return True


def _normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _make_environment(path, with_pip):
    if (path / "bin" / "python").exists():
        return
    try:
        venv.create(path, symlinks=True, with_pip=with_pip)
    except subprocess.CalledProcessError:  # a CPython without ensurepip's wheels, as Debian's: pip of this environment
        shutil.rmtree(path)
        venv.create(path, symlinks=True)
        argv = [sys.executable, "-m", "pip", "--python", str(path / "bin" / "python"), "install", "-q", "pip"]
        subprocess.run(argv, check=True)


def _pip(cache, command, *arguments, python=None):
    target = ["--python", python] if python else []
    argv = [cache.tools / "bin" / "python", "-m", "pip", *target, command, "-q", *arguments]
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    subprocess.run([str(part) for part in argv], check=True, env=env)


def _pip_into(cache, suite, kind, *arguments):
    _pip(cache, "install", *arguments, python=cache.python(suite, kind))


class Stamp:
    """Remembers beside a folder what it was made from: `stale` says that it has to be made again."""

    def __init__(self, folder, made_from):
        self.path = folder.with_name(folder.name + ".stamp")
        self.text = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
        present = folder.exists() and self.path.exists()
        self.stale = not present or self.path.read_text() != self.text

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.path.write_text(self.text)


def install_libraries(cache, folder, names):
    """Puts distributions into a folder that is to go on PYTHONPATH."""
    shutil.rmtree(folder, ignore_errors=True)
    _pip(cache, "install", "-c", CONSTRAINTS, "--target", folder, *names)
