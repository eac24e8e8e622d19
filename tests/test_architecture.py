"""The plan of the house: imports lead downward only, private names stay at home, no module is hidden, no room is large.

A module has the number of its notebook: `21_model.ipynb` writes `model`. Support (90 and up) is open to everybody.
A notebook without `#| default_exp` only explains, and makes no module."""
import ast
import importlib
import json
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

import eod_exit_ppo

ROOT = Path(__file__).parents[1]
PACKAGE, SUPPORT = "eod_exit_ppo", 90
NUMBERED = sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
NOTEBOOKS = {p.stem[3:]: p for p in NUMBERED if "#| default_exp" in p.read_text(encoding="utf-8")}
FLOOR = {name: int(p.stem[:2]) for name, p in NOTEBOOKS.items()}
TREES = {name: ast.parse((ROOT / f"{PACKAGE}/{name}.py").read_text(encoding="utf-8")) for name in NOTEBOOKS}
each_module = pytest.mark.parametrize("module", NOTEBOOKS)


def inside(node):
    "The module of this package that an import names, '' for the package itself, None for another's."
    if node.level: return node.module or ""
    top, _, rest = (node.module or "").partition(".")
    return rest if top == PACKAGE else None


def taken(module):
    "What a module imports from this package, also within functions: (module, name or '' for all of it, name here)."
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and (home := inside(node)) is not None:
            for alias in node.names:
                yield (home, alias.name, alias.asname or alias.name) if home else (
                    alias.name if alias.name in NOTEBOOKS else "", alias.name if alias.name not in NOTEBOOKS else "",
                    alias.asname or alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                if top == PACKAGE: yield rest, "", alias.asname or alias.name


def test_every_module_has_a_notebook_with_a_number_of_its_own():
    assert {p.stem for p in (ROOT / PACKAGE).glob("[!_]*.py")} == NOTEBOOKS.keys()
    assert len({p.stem[:2] for p in NUMBERED}) == len(NUMBERED)


@each_module
def test_imports_lead_downward(module):
    def below(other): return FLOOR[other] >= SUPPORT or FLOOR[other] < FLOOR[module] < SUPPORT
    assert [(home or PACKAGE, name) for home, name, _ in taken(module)
            if not (below(home) if home else name == "__version__")] == []


def test_imports_never_lead_in_a_circle():
    list(TopologicalSorter({m: {home for home, _, _ in taken(m) if home} for m in NOTEBOOKS}).static_order())


@each_module
def test_private_names_stay_at_home(module):
    "Neither `from .model import _net` nor `model._net`."
    names = list(taken(module))
    modules = {here for _, name, here in names if not name}
    crossing = [f"{home}.{name}" for home, name, _ in names if name.startswith("_") and not name.startswith("__")]
    crossing += [ast.unparse(node) for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)
                 and node.attr.startswith("_") and ast.unparse(node.value) in modules]
    assert crossing == []


@each_module
def test_no_module_is_hidden(module):
    "After `import eod_exit_ppo.model` that is what `eod_exit_ppo.model` is, and no function of its name."
    assert importlib.import_module(f"{PACKAGE}.{module}") is getattr(eod_exit_ppo, module)


# ---- sizes ----
def exported(module):
    "The lines of each exported cell, without blank ones and directives."
    for cell in json.loads(NOTEBOOKS[module].read_text(encoding="utf-8"))["cells"]:
        lines = "".join(cell["source"]).splitlines()
        if cell["cell_type"] == "code" and any(line.replace(" ", "").startswith("#|export") for line in lines[:3]):
            yield [line for line in lines if line.strip() and not line.startswith("#|")]


def test_half_of_the_exported_cells_have_ten_lines_at_most():
    assert median(len(cell) for module in NOTEBOOKS for cell in exported(module)) <= 10


@each_module
def test_exported_cells_are_small(module):
    assert {cell[0]: len(cell) for cell in exported(module) if len(cell) > 60} == {}


@each_module
def test_classes_are_small(module):
    lines = (ROOT / f"{PACKAGE}/{module}.py").read_text(encoding="utf-8").splitlines()
    classes = {node.name: sum(map(bool, map(str.strip, lines[node.lineno - 1:node.end_lineno])))
               for node in ast.walk(TREES[module]) if isinstance(node, ast.ClassDef)}
    assert {name: n for name, n in classes.items() if n > 60} == {}


@each_module
def test_modules_are_small(module):
    assert len((ROOT / f"{PACKAGE}/{module}.py").read_text(encoding="utf-8").splitlines()) <= 420
