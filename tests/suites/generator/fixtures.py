"""Fixtures of all scopes and kinds."""

from __future__ import annotations

import dataclasses

from generator.maker import BUILTIN, OF_SESSION, Maker, function

SCOPES = ("function", "class", "module", "package", "session")


@dataclasses.dataclass
class Fixture:
    name: str
    scope: str
    needs_param: bool = False  # only of use with indirect parametrization


def make_fixtures(maker: Maker, known: list[Fixture], how_many: int, method: bool = False) -> tuple[str, list[Fixture]]:
    """Text of new fixtures, and all that are known below that place: new ones may override or use what is known."""
    texts, found = [], list(known)
    for _ in range(how_many):
        text, fixture = _fixture(maker, found, method)
        texts.append(text)
        found = [f for f in found if f.name != fixture.name] + [fixture]
    return "\n\n".join(texts), found


def _fixture(maker: Maker, known: list[Fixture], method: bool) -> tuple[str, Fixture]:
    scope = maker.pick(("function",) * 5 + ("class", "class", "module", "module", "package", "session", "session"))
    over = [f for f in known if not f.needs_param]
    override = maker.pick(over) if over and maker.chance(0.12) else None
    name = override.name if override else maker.name("fix")
    if override:
        scope = override.scope
    fixture = Fixture(name, scope, not override and maker.chance(0.06))
    loud = maker.together or scope in ("function", "class", "module")  # others live once in every worker
    arguments = _dependencies(maker, fixture, known, override)
    allowed = BUILTIN if scope == "function" else OF_SESSION
    decorator, parametrized = _decorator(maker, fixture, override)
    ends = 0 if "autouse" in decorator else 0.03
    names, before = maker.actions(maker.pick((0, 0, 0, 1, 2)), ends, allowed) if loud else ([], "pass")
    late = (
        ends if maker.together else 0
    )  # SystemExit and its like leave later fixtures as they are, for other modules too
    finish_names, after = maker.actions(maker.pick((0, 0, 1)), late, allowed) if loud else ([], "pass")
    value = _value(maker, fixture, arguments, parametrized, names)
    body = _body(maker, fixture, before, after, value, loud)
    arguments += [n for n in (*names, *finish_names, *_wants_request(body)) if n not in arguments]
    if method:
        arguments.insert(0, "self")
    return function(_function_name(maker, name, decorator), arguments, body, [decorator]), fixture


def _function_name(maker: Maker, name: str, decorator: str) -> str:
    return f"made_{name}" if f'name="{name}"' in decorator else name


def _dependencies(maker: Maker, fixture: Fixture, known: list[Fixture], override: Fixture | None) -> list[str]:
    reach = SCOPES.index(fixture.scope)
    wide = [f.name for f in known if SCOPES.index(f.scope) >= reach and not f.needs_param and f.name != fixture.name]
    found = maker.some(wide, 2) if maker.chance(0.5) else []
    return ([fixture.name] if override and maker.chance(0.7) else []) + found


def _decorator(maker: Maker, fixture: Fixture, override: Fixture | None) -> tuple[str, bool]:
    options = []
    if fixture.scope != "function":
        dynamic = not override and maker.chance(0.1)
        options.append(
            f'scope=lambda fixture_name, config: "{fixture.scope}"' if dynamic else f'scope="{fixture.scope}"'
        )
    if maker.chance(0.12) and not fixture.needs_param:
        options.append("autouse=True")
    parametrized = maker.chance(0.12) and not fixture.needs_param
    if parametrized:
        options.append(maker.pick((
            "params=[1, 2]", 'params=["x", "y"], ids=["ex", "why"]', "params=[None, pytest.param(3, id='three')]",
            'params=[pytest.param(1, marks=pytest.mark.skip(reason="of the parameter")), 2]',
            'params=[1, pytest.param(2, marks=pytest.mark.xfail)]', "params=[{}, 2.5], ids=str", "params=[1]",
        )))  # fmt: skip
    if maker.chance(0.05):
        options.append(f'name="{fixture.name}"')
    if not options:
        return maker.pick(("@pytest.fixture", "@pytest.fixture()")), False
    return f"@pytest.fixture({', '.join(options)})", parametrized


def _value(maker: Maker, fixture: Fixture, arguments: list[str], parametrized: bool, names: list[str]) -> str:
    if fixture.needs_param or parametrized:
        return "request.param"
    if arguments and maker.chance(0.6):
        return f"[{', '.join(arguments)}]"
    if maker.chance(0.1):
        return 'getattr(request, "param", "no parameter")'
    return maker.pick(("None", f'"{maker.word()}"', str(maker.number()), "object()", "[]", "request.node.name"))


def _body(maker: Maker, fixture: Fixture, before: str, after: str, value: str, loud: bool) -> str:
    label = f'"{fixture.name}"'
    up = f'step({label}, "up")\n' if loud and maker.chance(0.5) else ""
    down = f'step({label}, "down")\n' if loud and maker.chance(0.8) else ""
    kind = maker.pick(("yield", "yield", "return", "return", "finalizer", "try", "with"))
    if kind == "yield":
        return f"{up}{before}\nyield {value}\n{down}{after}"
    if kind == "try":
        return (
            f"{up}{before}\ntry:\n    yield {value}\nfinally:\n    step({label}, 'finally')"
            if loud
            else f"yield {value}"
        )
    if kind == "with" and (maker.together or fixture.scope == "function"):  # else filters of other modules are mixed up
        return f"{up}with warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n    yield {value}\n{down}"
    text = f"{up}{before}\n"
    if kind == "finalizer":
        for at in range(maker.number(3)):
            if loud:
                text += f"request.addfinalizer(lambda: step({label}, 'finalizer', {at}))\n"
        if loud and maker.chance(0.15):
            text += f"request.addfinalizer(lambda: _raise(ValueError('finalizer of {fixture.name}')))\n"
        if maker.together and maker.chance(0.2):
            text += f"request.session.addfinalizer(lambda: step({label}, 'at the end of the session'))\n"
        text += "request.node\n"
    return f"{text}return {value}"


def _wants_request(body: str) -> list[str]:
    return ["request"] if "request." in body or "(request," in body else []
