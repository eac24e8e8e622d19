"""The Sphinx extension in docs/nbdev_site: what a notebook and a module become."""
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

ROOT = Path(__file__).parents[1]


def load(name):
    "One of the extension's two readers; they need no Sphinx, which the extension as a whole does."
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / "docs" / "nbdev_site" / f"{name}.py")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


notebooks, reference = load("notebooks"), load("reference")


def book(*cells):
    return new_notebook(cells=[new_markdown_cell("# A title\n> What it is about\n\nMore."), *cells])


def code(source, *outputs):
    return new_code_cell(source, outputs=list(outputs))


PICTURE = new_output("display_data", {"image/png": "iVBORw0KGgo="})


@pytest.mark.parametrize("source, directives, rest", [
    ("#| export\nx = 1", {"export": ""}, "x = 1"),
    ("#|export\n#| fig-alt: a: b\n\nx = 1", {"export": "", "fig-alt": "a: b"}, "x = 1"),
    ("#| default_exp data", {"default_exp": "data"}, ""),
    ("# | echo: false\nf()", {"echo": "false"}, "f()"),
    ("x = 1\ny = '''\n#| no directive\n'''", {}, "x = 1\ny = '''\n#| no directive\n'''"),
    ("x = 1\ndebug() #| hide_line\ny", {}, "x = 1\ny"),
    ("# a comment\n#| late", {}, "# a comment\n#| late"),
])
def test_directives(source, directives, rest):
    assert notebooks.split_directives(source) == (directives, rest)


@pytest.mark.parametrize("source", ["#| hide\nx", "#| include: false\nx", "#| default_exp data", "#| exporti\nx", "",
                                    "#| hide", "nbdev_export()", "nbdev.nbdev_export();"])
def test_hidden(source):
    nb = book(code(source), code("shown"))
    assert [c.source for c in notebooks.page(nb).cells if c.cell_type == "code"] == ["shown"]
    assert [c.source for c in notebooks.clean(nb).cells if c.cell_type == "code"] == ["shown"]


def test_raw_cells_are_left_out():
    assert len(notebooks.page(book(new_raw_cell("---\ntitle: x\n---"))).cells) == 1


@pytest.mark.parametrize("directive, tag", [("echo: false", "remove-input"), ("output: false", "remove-output"),
                                            ("code-fold: true", "hide-input"), ("hide_input", "remove-input")])
def test_tags(directive, tag):
    cell = notebooks.page(book(code(f"#| {directive}\nx"))).cells[1]
    assert cell.metadata.tags == [tag] and cell.source == "x"


def test_what_is_exported_is_shown():
    cells = notebooks.page(book(code("#| export\ndef f(): pass"))).cells
    assert cells[1].source == "def f(): pass" and cells[1].metadata.tags == []


def test_filter_stream():
    printed = new_output("stream", text="a\nWarning: b\n")
    cell = notebooks.page(book(code("#| filter_stream Warning\nf()", printed))).cells[1]
    assert cell.outputs[0].text == "a\n"


@pytest.mark.parametrize("source, before, alt", [
    ("#| fig-alt: What it shows\nplot()", "Text.", "What it shows"),
    ("ax.set(title='Gain by day', xlabel='day')", "Text.", "Gain by day"),
    ("a.set_title('One'); b.set_title(\"Two\")", "Text.", "One; Two"),
    ("ax.set_title(f'{x}')", "## Head\nThe *first* `thing`. Another.", "The first thing."),
    ("plot()", "See [this](x.ipynb):\n\n$$x$$", "See this"),
    ("plot()", "", "A title"),
])
def test_alt_texts(source, before, alt):
    nb = book(new_markdown_cell(before), code(source, PICTURE))
    if not before:
        nb.cells[0].source = "# A title"
    found = notebooks.page(nb).cells[-1].metadata.mystnb["image"]["alt"]
    assert found == alt


@pytest.mark.parametrize("quarto, myst", [
    ("::: {.callout-note}\ntext\n:::", ":::{note}\ntext\n:::"),
    ("::: {.callout-tip title=\"Look\" collapse=\"true\"}\ntext\n:::", ":::{admonition} Look\n:class: tip\ntext\n:::"),
    (":::{.callout-warning}\n## Mind\ntext\n:::", ":::{admonition} Mind\n:class: warning\ntext\n:::"),
    ("a ::: b", "a ::: b"),
])
def test_callouts(quarto, myst):
    assert notebooks.callouts(quarto) == myst


@pytest.mark.parametrize("text, out", [
    ("[a](x.ipynb)", "[a](T/x.ipynb)"),
    ("[`a` b](x.ipynb#The-fast-way)", "[`a` b](T/x.ipynb#the-fast-way)"),
    ("![p](x.png \"t\")", "![p](T/x.png \"t\")"),
    ("[a](https://x.org/y#Z)", "[a](https://x.org/y#Z)"),
    ("[a](#Some-Part)", "[a](#some-part)"),
    ("```\n[a](x.ipynb)\n```\n[b](y.md)", "```\n[a](x.ipynb)\n```\n[b](T/y.md)"),
])
def test_links(text, out):
    assert notebooks.relink(text, lambda path: f"T/{path}") == out


def test_heading():
    assert notebooks.heading(book()) == ("A title", "What it is about")
    assert notebooks.heading(new_notebook(cells=[new_markdown_cell("# T\n*sub*")])) == ("T", "sub")
    two_lines = new_notebook(cells=[new_markdown_cell("# T\n\n> long\n> line\n\nx")])
    assert notebooks.heading(two_lines) == ("T", "long line")
    assert notebooks.heading(new_notebook()) == ("", "")


def test_show_doc_and_links_below_the_title():
    cells = notebooks.page(book(code("show_doc(A.b)")), entry=lambda n: f"<{n}>", links="LINKS").cells
    assert [c.source for c in cells[1:]] == ["LINKS", "<A.b>"]


def test_the_notebook_itself_is_left_as_it_is():
    nb = book(code("#| export\nx", PICTURE), code("#| hide\ny"))
    before = str(nb)
    notebooks.page(nb), notebooks.clean(nb)
    assert str(nb) == before


SHOWN = new_output("stream", text="1\n")
DEFINED = "#| export\ndef f(): return 1\n\nX = 2"


@pytest.mark.parametrize("cells, found", [
    ([code("f()", SHOWN), code(DEFINED)], {}),                                                  # before the definition
    ([code(DEFINED), code("f()")], {}),                                                         # nothing was shown
    ([code(DEFINED), code("#| hide\nf()", SHOWN), code("a\n" * 6 + "f()", SHOWN)], {}),         # hidden; too long
    ([code(DEFINED), code("g()", SHOWN), code("# try it\nf() + X", SHOWN)], {"f": 2, "X": 2}),
    ([code(DEFINED), code("#| slow\nf()", SHOWN), code("print(f())", SHOWN)], {"f": 2}),         # the quick one
    ([code(DEFINED), code("#| slow\nf()", SHOWN), code("%time f()", SHOWN)], {"f": 1}),
    ([code("#| export\ndef f(): ..."), code('call("f-g", 3);', SHOWN)], {"f": 1}),              # a command
])
def test_examples(cells, found):
    assert notebooks.examples(cells, ["f", "X"]) == {name: cells[k] for name, k in found.items()}


def test_text_of_an_example():
    said = [new_output("stream", name="stderr", text="warned\n"), new_output("stream", text="1\n2\n"), PICTURE,
            new_output("execute_result", {"text/plain": "3", "text/html": "<b>3</b>"})]
    assert notebooks.shown_text(said) == "1\n2\n3" and notebooks.shown_text(said, most=2) == "1\n2\n..."
    thing = reference.Thing("f", "function", example=("f()", "3"))
    assert "**Example:**\n\n~~~python\nf()\n~~~\n~~~text\n3\n~~~" in reference.entry(thing, "p.x")


SOURCE = '''
"""What it does"""

# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/07_x.ipynb.
from .other import borrowed

__all__ = ['K', 'f', 'C', 'Seed', 'g', 'borrowed', 'P', 'A']

K, _hidden = 3, 4
Seed = Annotated[int, Option(help="Where chance begins.")]

def f(
    a: np.ndarray,      # (D, N) float32, a share
    /,
    b: int | None = 3,  # days; None: | all
    *args: str,
    # the tolerance, as a
    # share
    c="x",
    seed: Seed = 7,
    **kw,
) -> dict[str, "C"]:    # name -> what
    """Do it with `C`.

    Slowly. Raises ValueError if a < 0 or `b` is 1.5. More."""
    raise KeyError("k")

def g(x: int, y=(1, 2)) -> C: raise TypeError

def _private(): pass

@dataclass(frozen=True)
class C:
    "A class."
    n: int = 3   # how many
    _m: int = 4
    D = property(lambda self: 1, doc="Days.")
    def __post_init__(self): raise ValueError
    @property
    def size(self) -> int: "How big."
    @classmethod
    def load(cls, path: str) -> C: "From a file."
    @staticmethod
    def of(x): return x
    def _secret(self): pass
    def __call__(self, x): return x

class P(Base):
    "Another."
    def __init__(
        self,
        model: C,  # copied
    ): pass

@patch
def late(self: C, k: int = 1): "Added later."

@patch
def both(self: (C, P)): "Two."

@patch
def _hidden(self: C): "Nobody's business."

@patch
def far(self: Elsewhere): "A method of a class in another module."

def not_exported(): pass
'''.lstrip()


@pytest.fixture(scope="module")
def module():
    return reference.read_source(SOURCE, "pkg.x")


@pytest.fixture(scope="module")
def things(module):
    return {t.name: t for t in module.things} | {m.name: m for t in module.things for m in t.members}


def test_module(module, things):
    assert module.doc == "What it does" and module.notebook == "nbs/07_x.ipynb"
    assert {t.name for t in module.things} == {"K", "Seed", "f", "g", "C", "P", "borrowed"}
    assert not {"_private", "not_exported", "C._secret", "C._hidden", "late", "far"} & set(things)
    assert [m.name for m in module.patches] == ["Elsewhere.far"]


def test_methods_that_another_module_adds(tmp_path):
    "They are listed with their class, without a link to a source that is not its module's."
    (tmp_path / "a.py").write_text('__all__ = ["A"]\nclass A:\n    "A class."\n')
    (tmp_path / "b.py").write_text('from .a import A\n__all__ = []\n@patch\ndef late(self: A): "Added there."\n')
    a, b = reference.read_package(tmp_path)
    assert [(m.name, m.doc, m.lines) for m in a.things[0].members] == [("A.late", "Added there.", (0, 0))]
    assert b.things == []


def test_inner_classes_are_no_bases(tmp_path):
    "Neither one with an underscore, nor one that is not exported."
    (tmp_path / "a.py").write_text('__all__ = ["A", "Open"]\nclass Open: pass\nclass Shown: pass\n'
                                   'class A(Shown, Open, _Hidden, tuple): "A class."\n')
    thing = next(t for t in reference.read_package(tmp_path)[0].things if t.name == "A")
    assert "Is an `Open` and a `tuple`." in reference.entry(thing, "p.a")


def test_docments(things):
    said = {p.name: (p.annotation, p.default, p.comment) for p in things["f"].parameters}
    assert said["a"] == ("np.ndarray", "", "(D, N) float32, a share")
    assert said["b"] == ("int | None", "3", "days; None: | all")
    assert said["c"] == ("", '"x"', "the tolerance, as a share")
    assert said["seed"] == ("int", "7", "Where chance begins.")
    assert said["**kw"] == ("", "", "") and said["*args"] == ("str", "", "")
    assert things["f"].returns.comment == "name -> what"
    assert things["f"].signature == "(a, /, b=3, *args, c=\"x\", seed=7, **kw) -> dict[str, C]"
    assert things["g"].signature == "(x: int, y=(1, 2)) -> C"


def test_classes_and_patches(things):
    assert things["C"].signature == "(n=3)" and [p.comment for p in things["C"].parameters] == ["how many"]
    kinds = {m.name: m.kind for m in things["C"].members}
    assert kinds == {"C.size": "property", "C.load": "classmethod", "C.of": "staticmethod", "C.__call__": "method",
                     "C.D": "property", "C.late": "method", "C.both": "method"}
    assert [m.name for m in things["P"].members] == ["P.both"]
    assert things["P"].signature == "(model)" and things["P"].bases == ["Base"]
    assert things["C.late"].signature == "(k: int = 1)"


def test_errors(things):
    assert reference.split_errors(things["f"].doc) == ("Do it with `C`.\n\nSlowly.  More.",
                                                       ["ValueError if a < 0 or `b` is 1.5"])
    assert things["f"].raises == ["KeyError"] and things["C"].raises == ["ValueError"]
    assert "`TypeError`" in reference.entry(things["g"], "pkg.x")
    assert reference.split_errors("Raise it higher.") == ("Raise it higher.", [])


def test_escapes():
    assert reference.escape("a|b *c* <d> `x|y` _e_ n_boot $a_1$") == r"a\|b \*c\* \<d\> `x\|y` \_e\_ n_boot $a_1$"
    assert reference.code("a | b") == "`a \\| b`" and reference.code("`x`") == "`` `x` ``" and reference.code("") == ""
    assert reference.prose("a < b `c < d`") == "a \\< b `c < d`"


def test_entry(things):
    text = reference.entry(things["C"], "pkg.x")
    assert text.startswith("````````````{py:class} C(n=3)\n:module: pkg.x\n")
    assert "{py:method} load(path: str) -> C" in text
    assert ":classmethod:" in text and ":staticmethod:" in text and "| **n** | `int` | `3` | how many |" in text
    assert ":no-index:" in reference.entry(things["f"], "pkg.x", indexed=False)


def test_names_and_what_they_stand_for(module):
    other = reference.read_source("__all__ = ['f', 'panel']\ndef f(): pass\ndef panel(): pass", "pkg.y")
    names = reference.symbols([module, other])
    def look(words, **k): return reference.lookup(words, names, **k)
    assert look("C") == look("pkg.x.C") == look("C.n") == look("C(3)") == "pkg.x.C"
    assert look("C.load") == look("C.load(path)") == "pkg.x.C.load"
    assert look("f") is None and look("f()") is None                         # two of that name
    assert look("f", home="pkg.y") == look("y.f") == "pkg.y.f"
    assert look("panel") is None and look("panel()") == look("panel", home="pkg.y") == "pkg.y.panel"
    assert look("panel", direct={"panel"}) == "pkg.y.panel"
    assert look("x + y") is None and look("nobody") is None


def test_what_is_imported_and_exported_again(tmp_path):
    folder = tmp_path / "pkg"
    folder.mkdir()
    (folder / "a.py").write_text("__all__ = ['f']\ndef f(x): 'Do.'\n")
    (folder / "b.py").write_text("__all__ = ['f']\nfrom .a import f\n")
    modules = reference.read_package(folder)
    assert modules[1].things[0].home == "pkg.a.f" and reference.symbols(modules)["f"] == ["pkg.a.f"]
    assert "The same as {py:obj}`pkg.a.f`: Do." in reference.page(modules[1])
    assert reference.page(modules[0]).startswith("# a\n")
    assert reference.page(modules[0], title="First of all").startswith("# a · First of all\n")


def test_every_public_name_of_the_package_is_read():
    for module in reference.read_package(ROOT / "eod_exit_ppo"):
        wanted = set(importlib.import_module(module.name).__all__)
        assert {t.name for t in module.things} == wanted, module.name


def test_refusals_are_folded():
    text = new_markdown_cell
    page = notebooks.page(book(code("1 + 1"), text("## What is refused"), code("refused(f)"), text("### Also"),
                               code("refused(g)"), text("## Next"), code("2")))
    assert [c.metadata.tags for c in page.cells if c.cell_type == "code"] == [[], ["hide-input"], ["hide-input"], []]


def test_a_method_has_an_example_where_one_is_shown():
    shown = new_output("stream", name="stdout", text="1")
    cells = book(code("#| export\nclass Box:\n    def open(self): return 1"),
                 code("#| export\n@patch\ndef keep(self: Box): pass"), code("Box().keep()", shown),
                 code("box.title()", shown)).cells
    assert set(notebooks.examples(cells, ["Box", "Box.open", "Box.keep", "Box.title"])) == {"Box", "Box.keep"}
