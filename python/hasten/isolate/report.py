"""The answer of ``hasten isolate``, for people and as JSON."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections import Counter

from hasten.isolate.hunt import Answer
from hasten.isolate.lab import Outcome


def tries(outcomes: list[Outcome]) -> str:
    """'failed (3 of 3)  AssertionError: ...'"""
    counts = Counter(outcome.word for outcome in outcomes)
    words = ", ".join(f"{word} ({n} of {len(outcomes)})" for word, n in counts.most_common())
    text = next((outcome.text for outcome in outcomes if outcome.text), "")
    return f"{words}  {text}" if text else words


def text(answer: Answer, n: int) -> str:
    lines = [answer.test, ""]
    if answer.alone:
        lines.append(f"  alone: {tries(answer.alone)}")
    if answer.after:
        what = "after importing the other files" if answer.files else f"after {answer.n_before} others"
        lines.append(f"  {what}: {tries(answer.after)}")
    lines += ["", answer.verdict + "."]
    lines += [f"  {name}" for name in answer.culprits or answer.files]
    for name, left in answer.left.items():
        lines += ["", f"what {name} leaves behind:", *(f"  {line}" for line in left)]
    if answer.command:
        lines += ["", "to see it again:", "  " + shlex.join(answer.command)]
    if answer.notes:
        lines += ["", *(f"note: {note}" for note in answer.notes)]
    lines += ["", f"({answer.n_probes} probes, up to {n} at once, {answer.seconds:.1f} s)"]
    return "\n".join(lines)


def as_json(answer: Answer) -> str:
    return json.dumps(dataclasses.asdict(answer), indent=1)
