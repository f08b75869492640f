"""Plugins that are loaded because they are installed, and that no test uses."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, IniEdit, Note
from hasten.doctor.suite import Variant

# What these do, they do by being there: nobody names them.
BY_PRESENCE = {
    "pytest-sugar": "developers' terminals",
    "pytest-rich": "developers' terminals",
    "pytest-icdiff": "developers' terminals",
    "pytest-clarity": "developers' terminals",
    "pytest-pretty": "developers' terminals",
    "pytest-instafail": "developers' terminals",
    "pytest-randomly": "shuffling",
    "pytest-random-order": "shuffling",
    "pytest-github-actions-annotate-failures": "CI",
    "teamcity-messages": "CI",
    "pytest-metadata": "CI",
    "pytest-socket": "guarding",
    "pytest-env": "the environment",
    "pytest-dotenv": "the environment",
    "pytest-xdist": "parallel runs",
}


def find(facts: Facts) -> Iterator[Candidate | Note]:
    blocked = " ".join(map(str, facts.seen["ini"]["addopts"] or ())) + " ".join(facts.args)
    idle = [
        plugin
        for plugin in facts.seen["plugins"]
        if not plugin["used"] and plugin["distribution"].lower() not in BY_PRESENCE
    ]
    words = [
        w for plugin in idle for name in plugin["names"] for w in ("-p", f"no:{name}") if f"no:{name}" not in blocked
    ]
    if words:
        names = ", ".join(plugin["distribution"] for plugin in idle)
        yield Candidate(
            "plugins",
            f"plugins that no test uses: {names}",
            f"addopts: {' '.join(words)}",
            Variant(args=tuple(words)),
            "collect",
            edits=[IniEdit("addopts", words)],
        )
    for plugin in facts.seen["plugins"]:
        purpose = BY_PRESENCE.get(plugin["distribution"].lower())
        if purpose in ("developers' terminals", "CI") and not plugin["used"]:
            where = "in CI" if purpose != "CI" else "for developers"
            words = [w for name in plugin["names"] for w in ("-p", f"no:{name}")]
            yield Candidate(
                f"plugin {plugin['distribution']}",
                f"{plugin['distribution']} is of use for {purpose} only",
                f"{where}: pytest {' '.join(words)}",
                Variant(args=tuple(words)),
                "collect",
            )
