"""A digest of the code that a kind of run goes through, so that numbers of other code are not taken for today's."""

import ast
from functools import cache
from hashlib import blake2b
from pathlib import Path

import msgspec

from schemas.settings import DEPLOY, Profile

ROOT = Path(__file__).resolve().parents[2]
RINGS = ("schemas", "agents", "experiments")
# Events change only by fields with defaults, which no rule reads before its own code does: of the schemas, draws and defaults matter.
SHAPES, DRAWS = "schemas", "schemas.identity"
TRIALS = "experiments.evidence.trials"
SIMULATOR = ("agents.loop", *(f"experiments.simulator.{name}" for name in ("measures", "people", "run", "world", "worlds")))
MODULES = {
    "closed_loop": SIMULATOR,
    "clean": SIMULATOR,
    "override_bound": SIMULATOR,
    "quarantined": ("experiments.studies.quarantine",),
    "monitored": ("experiments.studies.monitors",),
    "study": tuple(f"experiments.studies.{name}" for name in ("convergence", "forgetting", "interval", "sign")),
}


@cache
def digest(kind: str) -> str:
    """Return twelve hexadecimal digits: of the rules that a kind of run imports and of the profiles, not of comments and docstrings."""
    sums = blake2b(digest_size=6)
    for name in (TRIALS, *sorted(imported(MODULES[kind]))):
        if name.partition(".")[0] != SHAPES or name == DRAWS:
            sums.update(f"{name}\n{_essence(name)}\n".encode())
    sums.update(msgspec.json.encode(Profile(name="")))
    for path in sorted((DEPLOY / "profiles").glob("*.yaml")):
        sums.update(msgspec.json.encode(msgspec.yaml.decode(path.read_bytes())))
    return sums.hexdigest()


def imported(names: tuple[str, ...]) -> set[str]:
    """Return these modules of the project and all that they import, at any depth."""
    seen, todo = set[str](), [*names]
    while todo:
        name = todo.pop()
        if name in seen or _path(name) is None:
            continue
        seen.add(name)
        todo.append(name.rpartition(".")[0])
        for node in ast.walk(_tree(name)):
            if isinstance(node, ast.Import):
                todo += [each.name for each in node.names]
            if isinstance(node, ast.ImportFrom) and node.module:
                todo += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return seen


def _path(name: str) -> Path | None:
    if name.partition(".")[0] not in RINGS:
        return None
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _tree(name: str) -> ast.Module:
    path = _path(name)
    assert path is not None, f"{name} is no module of the project"
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _essence(name: str) -> str:
    tree = _tree(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
