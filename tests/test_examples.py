"""Every public name has an example in its notebook: a few lines that a reader sees, that use it and show something.

An example is a shown cell of code below the definition, six lines at most and not marked slow, so every run executes
it. The reference shows it under the name's entry."""
import ast
import json
from pathlib import Path

import pytest
from test_docs_extension import notebooks

ROOT = Path(__file__).parents[1]
NUMBERED = sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))


def public(path):
    "The names of the module that a notebook writes."
    file = ROOT / f"eod_exit_ppo/{path.stem[3:]}.py"
    return next((ast.literal_eval(node.value) for node in ast.parse(file.read_text(encoding="utf-8")).body
                 if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"), []) if file.exists() else []


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_every_public_name_has_an_example(path):
    found = notebooks.examples(json.loads(path.read_text(encoding="utf-8"))["cells"], public(path))
    lacking = [name for name in public(path) if name not in found]
    assert lacking == []
