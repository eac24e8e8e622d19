"""Every public name has an example in its notebook: a few lines that a reader sees, that use it and show something.

An example is a shown cell of code below the definition, of six lines at most; a run of the notebooks executes it, and
the reference shows it with the name's entry."""
import ast
import json
import re
from pathlib import Path

import pytest
from test_docs_extension import notebooks

ROOT = Path(__file__).parents[1]
ROOMS = sorted(p for p in (ROOT / "nbs").glob("[0-9][0-9]_*.ipynb")
               if "#| default_exp" in p.read_text(encoding="utf-8"))
SLOW = {"main"}  # trains for minutes: its example is marked slow


def public(path):
    "The names in `__all__` of the module that a notebook writes."
    tree = ast.parse((ROOT / f"eod_exit_ppo/{path.stem[3:]}.py").read_text(encoding="utf-8"))
    [names] = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
    return ast.literal_eval(names)


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.stem)
def test_every_public_name_has_an_example(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names = [name for name in public(path) if name in notebooks.defined(cells)]
    found = notebooks.examples(cells, names)
    lacking = [name for name in names if name not in found]
    assert not lacking, f"no cell of six lines at most below its definition uses it and has shown something: {lacking}"
    slow = {name for name, cell in found.items() if "#| slow" in "".join(cell["source"])}
    assert slow <= SLOW


def wide(path, most=100):
    "The lines of a notebook's code that are wider."
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        lines = "".join(cell["source"]).splitlines()
        if cell["cell_type"] == "code":
            yield from (f"{cell['id']}: {line}" for line in lines if len(line) > most)


@pytest.mark.parametrize("path", sorted((ROOT / "nbs").rglob("[!_.]*.ipynb")), ids=lambda path: path.stem)
def test_code_is_at_most_100_columns_wide(path):
    assert list(wide(path)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "nbs").rglob("[!_.]*.ipynb")), ids=lambda path: path.stem)
def test_what_a_picture_shows_is_said_in_one_line(path):
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert not [source for source in cells if re.search(r"^#\| fig-alt:.*\n# ", source, re.M)]
