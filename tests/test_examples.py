"""Every public name has an example in its notebook: a few lines that a reader sees, that use it and show something.

An example is a shown cell of code below the definition, of six lines at most; a run of the notebooks executes it, and
the reference shows it with the name's entry."""
import ast
import json
from pathlib import Path

import pytest
from test_docs_extension import notebooks

ROOT = Path(__file__).parents[1]
NUMBERED = sorted(p for p in (ROOT / "nbs").glob("[0-9][0-9]_*.ipynb") if (ROOT / f"eod_exit_ppo/{p.stem[3:]}.py").exists())
SLOW = {"main"}  # trains for minutes: its example is marked slow


def public(path):
    "The names in `__all__` of the module that a notebook writes."
    tree = ast.parse((ROOT / f"eod_exit_ppo/{path.stem[3:]}.py").read_text(encoding="utf-8"))
    [names] = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
    return ast.literal_eval(names)


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_every_public_name_has_an_example(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names = [name for name in public(path) if name in notebooks.defined(cells)]
    found = notebooks.examples(cells, names)
    lacking = [name for name in names if name not in found]
    assert not lacking, f"no cell of six lines at most below its definition uses it and shows something: {lacking}"
    slow = {name for name, cell in found.items() if "#| slow" in "".join(cell["source"])}
    assert slow <= SLOW
    silent = [name for name, cell in found.items() if name not in slow and not cell["outputs"]]
    assert not silent, f"the example shows nothing: {silent}; run the notebook with --save"
