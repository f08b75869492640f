"""What a run said, in a form in which two runs can be compared, and the differences between two of them."""

import collections
import dataclasses
import fnmatch
import json
import pathlib
import re
import tomllib
import xml.etree.ElementTree

# Fields that follow from others: excused when every difference in the others is a known one.
DERIVED = ("exit", "stats", "junit", "terminal")

VOLATILE = [
    (re.compile(r"pytest-of-[^/\s]+/pytest-\d+"), "pytest-of-user/pytest-N"),
    (re.compile(r"/popen-gw\d+"), ""),
    (re.compile(r"(?<=pytest-N/)([^/\s'\"]*?)\d+(?=[/\s'\"]|$)"), r"\1N"),
    (re.compile(r"0x[0-9a-fA-F]{5,}|(?<=\.\.\.)[0-9a-f]{5,}(?=>)"), "0x~"),
    (re.compile(r"\btime=\"\d+\.\d+\""), 'time="<time>"'),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?"), "<date>"),
    (re.compile(r"\b\d\d-\d\d-\d{4}\b|\b\d{4}-\d\d-\d\d\b"), "<day>"),
    (re.compile(r"\b\d\d?:\d\d:\d\d(\.\d+)?\b"), "<clock>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:s|ms|us|seconds?|secs?)\b(?: \(<clock>\))?"), "<time>"),
    (re.compile(r"(?<=Thread-)\d+|(?<=Task-)\d+|(?<=ThreadPoolExecutor-)\d+"), "N"),
    (re.compile(r"(?i)(?<=\bpid[ =:])\s*\d+"), "N"),
    (re.compile(r"((?:127\.0\.0\.1|localhost)['\"]?(?::|, ))\d{4,5}"), r"\1N"),
    (re.compile(r"\btmp[a-z0-9_]{8}\b"), "tmp~"),
    (re.compile(r"\b\d{12,}\b"), "N"),
    (re.compile(r"(?<=\boldfd=)\d+|(?<=_io\.FileIO name=)\d+"), "N"),
    (re.compile(r"\bhasten-\d[\d.]*, "), ""),  # in the list of plugins of a session inside a test
    (re.compile(r"(?:\.\./)+"), "../"),  # to somewhere above a temporary folder, which lies deeper in a worker
]


class Normaliser:
    """Takes out of a text what differs between two runs of anything."""

    def __init__(self, cache, suite, traces):
        names = [(str(traces.tmp), "<tmp>"), (str(traces.junit), "<junit>"), (str(cache.source(suite)), "<src>")]
        for kind in ("plain", "hasten"):
            names += [(str(cache.environment(suite, kind)), "<env>"), (f"../{kind}/", "<env>/")]
        self.names = [*names, (str(cache.root), "<cache>")]

    def __call__(self, text):
        for name, replacement in self.names:
            text = text.replace(name, replacement)
        for pattern, replacement in VOLATILE:
            text = pattern.sub(replacement, text)
        return text

    def deep(self, value):
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.deep(part) for part in value]
        if isinstance(value, dict):
            return {self(key): self.deep(part) for key, part in value.items()}
        return value


class Said:
    """All that one run said. tests: (id, phase) -> reports; the others count how often each thing was said."""

    def __init__(self, status):
        self.status = status
        self.finished = False
        self.tests = collections.defaultdict(list)
        self.collects = collections.Counter()
        self.warnings = collections.Counter()
        self.stats = {}
        self.junit = collections.Counter()
        self.terminal = collections.Counter()

    def settle(self):
        """Brings the reports of a phase (subtests give several) into an order that does not depend on the run."""
        for reports in self.tests.values():
            reports.sort(key=lambda report: json.dumps(report, sort_keys=True))


def read(traces, normalise, recorded):
    """Reads what a run left; recorded: whether the recorder was there (else the ids come from the -rA lines)."""
    said = Said(traces.run.status)
    if recorded and traces.record.exists():
        for line in traces.record.read_text(encoding="utf-8").splitlines():
            _read_event(said, normalise.deep(json.loads(line)))
    if traces.junit.exists():
        said.junit = read_junit(traces.junit, normalise)
    output = normalise(traces.output.read_text(encoding="utf-8", errors="replace"))
    said.terminal = read_terminal(output)
    if not recorded:
        said.finished = traces.junit.exists()
        _read_lines(said, output)
    said.settle()
    return said


def _read_event(said, event):
    kind = event.pop("e")
    if kind == "test":
        said.tests[event.pop("id"), event.pop("when")].append(event)
    elif kind == "collect":
        said.collects[json.dumps(event, sort_keys=True)] += 1
    elif kind == "warning":
        said.warnings[json.dumps(event, sort_keys=True)] += 1
    elif kind == "internal":
        said.collects[f"internal error: {event['long']}"] += 1
    elif kind == "stats":
        said.stats = event["counts"]
    elif kind == "finish":
        said.finished = True


LINE = re.compile(r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|SUB\w+) (.*?)(?: - .*)?$")


def _read_lines(said, output):
    """The `-rA` lines as tests without phases: `PASSED id`, `FAILED id - reason`."""
    inside = False
    for line in output.splitlines():
        if line.startswith("==="):
            inside = "short test summary info" in line
        match = LINE.match(line) if inside else None
        if match:
            said.tests[match[2], "any"].append({"outcome": match[1]})


def read_junit(path, normalise):
    """Test cases with all they say but their times, and the counts of the suite."""
    found = collections.Counter()
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
    except xml.etree.ElementTree.ParseError as error:
        found[f"not XML: {error}"] += 1
        return found
    for suite in root.iter("testsuite"):
        counts = {name: suite.get(name) for name in ("name", "errors", "failures", "skipped", "tests")}
        found[json.dumps(counts)] += 1
        for case in suite.iter("testcase"):
            inner = [[e.tag, dict(e.attrib), e.text or ""] for e in case.iter() if e is not case]
            names = {name: value for name, value in case.attrib.items() if name != "time"}
            found[json.dumps(normalise.deep([names, inner]), sort_keys=True)] += 1
    return found


HEADER = re.compile(r"^=+ (.+?) =+$")


def read_terminal(output):
    """The lines of the summary's parts, as a multiset of `part: line`; what comes before them is each runner's own."""
    found, part = collections.Counter(), None
    for line in output.splitlines():
        header = HEADER.match(line)
        if header and re.search(r"\d+ \w+.* in ", header[1]):
            found[f"last: {header[1]}"] += 1
            part = None
        elif header:
            part = header[1] if header[1] != "test session starts" else None
        elif part and line.strip() and not re.match(r"\[gw\d+\] ", line):
            found[f"{part}: {line.strip(' _-.')}"] += 1
    return found


@dataclasses.dataclass(frozen=True)
class Difference:
    field: str
    key: str  # node id and phase, or the thing that was said another number of times
    expected: str
    found: str

    def __str__(self):
        pairs = enumerate(zip(self.expected, self.found, strict=False))
        start = max(0, next((index for index, (a, b) in pairs if a != b), 0) - 60)
        expected, found = (shorten(text, start) for text in (self.expected, self.found))
        return f"{self.field}: {shorten(self.key)}\n    plain: {expected}\n    found: {found}"


def shorten(text, start=0, limit=300):
    """The part of a text that begins at start, with dots where something is left out."""
    if len(text) <= limit:
        return text
    return ("..." if start else "") + text[start : start + limit] + ("..." if start + limit < len(text) else "")


def differences(plain, other):
    """Everything in which the other run differs from plain pytest's."""
    found = []
    if not other.finished:
        found.append(Difference("finish", "the session", "finished", "did not finish"))
    found += _test_differences(plain, other)
    for field in ("collects", "warnings", "junit", "terminal"):
        found += _count_differences(field, getattr(plain, field), getattr(other, field))
    found += _count_differences("stats", plain.stats, other.stats)
    if plain.status != other.status:
        found.append(Difference("exit", "status", str(plain.status), str(other.status)))
    return found


def _test_differences(plain, other):
    for test_id, when in sorted({**plain.tests, **other.tests}, key=str):
        key = f"{test_id} [{when}]"
        expected, got = plain.tests.get((test_id, when), []), other.tests.get((test_id, when), [])
        if len(expected) != len(got):
            yield Difference("ids", key, f"{len(expected)} reports", f"{len(got)} reports")
            continue
        for ours, theirs in zip(expected, got, strict=True):
            for field in ours:
                if ours[field] != theirs[field]:
                    yield Difference(field, key, json.dumps(ours[field]), json.dumps(theirs[field]))


def _count_differences(field, expected, found):
    for key in sorted({**expected, **found}):
        if expected.get(key, 0) != found.get(key, 0):
            yield Difference(field, key, f"{expected.get(key, 0)} times", f"{found.get(key, 0)} times")


FIELDS = {"suite", "runner", "field", "key", "why", "proof"}


class Known:
    """Differences that are the suite's own doing, each with the command that proves it."""

    def __init__(self, path):
        self.entries = tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8")).get("known", [])
        for entry in self.entries:
            if set(entry) != FIELDS:
                raise SystemExit(f"{path}: an entry needs exactly {', '.join(sorted(FIELDS))}: {entry}")

    def explains(self, suite, runner, difference):
        return any(
            entry["suite"] == suite
            and entry["runner"] in (runner, "any")
            and entry["field"] in (difference.field, "any")
            and fnmatch.fnmatchcase(difference.key, entry["key"])
            for entry in self.entries
        )

    def may_fail(self, suite, runner):
        """Whether tests of the suite are known to have another outcome under this runner."""
        return any(
            entry["suite"] == suite and entry["runner"] in (runner, "any") and entry["field"] in ("outcome", "any")
            for entry in self.entries
        )

    def split(self, suite, runner, found):
        """Returns (unexplained, known). What follows from known differences alone is known too."""
        known = [d for d in found if self.explains(suite, runner, d)]
        rest = [d for d in found if d not in known]
        if known and all(d.field in DERIVED for d in rest):
            return [], found
        return rest, known
