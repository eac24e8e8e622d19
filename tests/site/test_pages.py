"""What the built site consists of, without a browser."""
import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

import eod_exit_ppo

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from notebooks import find_notebooks  # noqa: E402

NOTEBOOKS = [p.relative_to(ROOT).as_posix() for p in find_notebooks() if p.name != "index.ipynb"]
EVERY = sorted(p.stem for p in (ROOT / "eod_exit_ppo").glob("[!_]*.py"))
ADD = {"fills", "frames", "storage"}  # methods of other modules' classes, and nothing else
MODULES = [m for m in EVERY if m in ADD or importlib.import_module(f"eod_exit_ppo.{m}").__all__]
OURS = re.compile(r"/tmp/\w|/home/\w|/root/|/work/|file://|site-packages/")


def public(module):
    "The names of a module that are public, members of classes as Class.member; asked of the module itself."
    loaded = importlib.import_module(f"eod_exit_ppo.{module}")
    for name in loaded.__all__:
        thing = getattr(loaded, name)
        yield name
        if inspect.isclass(thing) and thing.__module__ == loaded.__name__:
            fields = vars(thing).get("__annotations__", {})
            yield from (f"{name}.{m}" for m, value in vars(thing).items() if m[0] != "_" and m not in fields and (
                inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))))


def classed(name, tag="*"):
    "The XPath of the elements of a class."
    return f"{tag}[contains(concat(' ', normalize-space(@class), ' '), ' {name} ')]"


def attributes(tree, *names):
    "What the attributes of these names, written tag/@name, say in a page, in turn."
    return tree.xpath(" | ".join(f"//{name}" for name in names))


def test_every_notebook_has_a_page_and_a_clean_copy(site):
    missing = [p for p in NOTEBOOKS for end in (".html", ".ipynb") if not (site / p).with_suffix(end).exists()]
    assert not missing
    assert not list(site.rglob("_[a-z]*.ipynb"))
    assert not [p for p in site.glob("_sources/**/*") if p.is_file()], "sources are shipped as they are"


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_hidden_cells_are_not_shipped(notebook, site, trees):
    cells = json.loads((ROOT / notebook).read_text(encoding="utf-8"))["cells"]
    copy = json.loads((site / notebook).read_text(encoding="utf-8"))["cells"]
    shown = [trees[notebook.replace(".ipynb", ".html")].text_content(), *("".join(c["source"]) for c in copy)]
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and re.match(r"\s*#\|\s*(hide|default_exp)\b", source):
            hidden = "\n".join(line for line in source.splitlines() if not line.startswith("#|")).strip()
            assert not hidden or not [s for s in shown if hidden in s], f"{notebook}, cell {cell['id']}"
    assert not [s for s in shown if re.search(r"^#\|", s, re.M)]
    assert {c["id"] for c in copy} <= {c["id"] for c in cells}


def test_links_and_anchors_resolve(site, trees):
    anchors = {page: set(attributes(tree, "@id")) for page, tree in trees.items()}
    broken = []
    for page, tree in trees.items():
        for href in attributes(tree, "a/@href", "link/@href", "img/@src", "script/@src"):
            if re.match(r"(https?|mailto|data|javascript):", href):
                continue
            path, anchor = urldefrag(urljoin(f"/{page}", href.split("?")[0] if "#" not in href else href))
            path, anchor = unquote(path).lstrip("/") or "index.html", unquote(anchor)
            if not (site / path).is_file() or (anchor and path in anchors and anchor not in anchors[path]):
                broken.append(f"{page}: {href}")
    assert not broken


def test_nothing_is_asked_of_another_host(trees):
    loading = [f"{tag}/@src" for tag in ("script", "img", "iframe")]
    loading += [f"link[contains(concat(' ', @rel, ' '), ' {rel} ')]/@href" for rel in ("stylesheet", "icon", "preload")]
    loads = [f"{page}: {address}" for page, tree in trees.items() for address in attributes(tree, *loading)
             if re.match(r"(https?:)?//", address)]
    assert not loads


def test_pictures_say_what_they_show(trees):
    pictures = [(page, img.get("src"), img.get("alt", "").strip()) for page in trees for img in trees[page].iter("img")]
    mute = [p for p in pictures if not p[2] or " " not in p[2] and re.search(r"\.(png|svg)$|/", p[2])]
    assert pictures
    assert not mute


def test_no_local_paths(site, pages):
    every = [site / page for page in pages] + list(site.rglob("*.ipynb"))
    assert not [f"{p.name}: {m[0]}" for p in every if (m := OURS.search(p.read_text(encoding="utf-8")))]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_an_entry_with_its_source(module, trees):
    entries = {entry.get("id"): entry for entry in trees[f"reference/{module}.html"].iter("dt")}
    lacking = []
    for name in public(module):
        sig = entries.get(f"eod_exit_ppo.{module}.{name}")
        if sig is None or not sig.xpath(f".//a/descendant-or-self::{classed('viewcode-link')}"):
            home, _, member = name.partition(".")
            thing = getattr(importlib.import_module(f"eod_exit_ppo.{module}"), home)
            made_in = getattr(getattr(thing, member, None), "__module__", thing.__module__) if callable(thing) else ""
            sourced = made_in in ("", f"eod_exit_ppo.{module}")  # a method that another module adds is shown there
            lacking += [name] if sig is None or callable(thing) and (sourced or not member) else []
    assert not lacking


def test_a_module_without_public_names_has_no_page(trees):
    assert {p for p in trees if p.startswith("reference/")} == {f"reference/{m}.html" for m in MODULES}
    for m in ADD: assert "It adds to classes of other modules" in trees[f"reference/{m}.html"].text_content()


def test_methods_have_examples_too(trees):
    for name in ("save", "load", "fingerprint", "lots"):
        [entry] = trees["reference/data.html"].xpath(f"//dt[@id='eod_exit_ppo.data.IntradayPanel.{name}']/..")
        assert entry.xpath(f".//{classed('example', 'p')}"), name


def test_refused_calls_are_folded(trees):
    cells = [(page, cell) for page, tree in trees.items() for section in tree.iter("section")
             if (section.findtext("h2") or "").startswith("What is refused")
             for cell in section.xpath(f".//{classed('cell')}") if cell.xpath(f".//{classed('cell_input')}")]
    assert cells and not [page for page, cell in cells if not cell.xpath(".//details")]


def test_the_package_names_its_modules_names(trees):
    text = " ".join(trees[f"reference/{m}.html"].text_content() for m in MODULES)
    assert not [name for name in eod_exit_ppo.__all__ if name not in text]


def test_every_entry_has_an_example(trees):
    "Below the entry itself, not below one of its members."
    lacking = []
    for module in MODULES:
        for name in importlib.import_module(f"eod_exit_ppo.{module}").__all__:
            [entry] = trees[f"reference/{module}.html"].xpath(f"//dt[@id='eod_exit_ppo.{module}.{name}']/..")
            own = entry.xpath(f"(.//dd)[1]/{classed('example', 'p')}")
            if not own and "The same as" not in entry.text_content(): lacking.append(f"{module}.{name}")
    assert not lacking


def test_reading_order_is_the_order_of_the_numbers_and_of_next(trees):
    "From the front page, Next leads through the parts and their notebooks; pages have titles, not names of modules."
    page, road = "index.html", []
    while links := trees[page].xpath(f"//{classed('right-next', 'a')}/@href"):
        page = urljoin(f"/{page}", links[0]).lstrip("/")
        road.append(page)
    numbered = [p.replace(".ipynb", ".html") for p in NOTEBOOKS if re.search(r"/\d", p)]
    assert [p for p in road if p in numbered] == sorted(numbered)
    parts = [p for p in road if p.startswith("story/")]
    assert parts == sorted(parts) and len(parts) == 7
    for part, first in zip(parts, ("0", "10", "12", "15", "3", "4", "9")):
        assert re.match(rf"nbs/{first}", road[road.index(part) + 1])
    assert not [p for p in road if p.startswith("reference/") and "·" not in trees[p].find(".//h1").text_content()]


def test_parameters_stand_in_tables(trees):
    table = f"//{classed('docments', 'table')}"
    rows = [[" ".join(text.strip() for text in cell.itertext() if text.strip()) for cell in row.iter("td")]
            for row in trees["reference/objective.html"].xpath(f"{table}//tr")]
    assert [row for row in rows if row[:2] == ["panel", "IntradayPanel"]]
    link = f"{table}//a[contains(@href, 'data.html#eod_exit_ppo.data.IntradayPanel')]"
    assert trees["reference/objective.html"].xpath(link)


def test_front_page(trees):
    article, icon = trees["index.html"].find(".//article"), "//link[contains(concat(' ', @rel, ' '), ' icon ')]/@href"
    assert article.find(".//img").get("alt")
    assert "make demo" in article.text_content() and "make test" in article.text_content()
    doors = article.xpath(f".//{classed('doors', 'ul')}//a/@href")
    assert doors == ["story.html", "howto.html", "reference.html"]
    assert trees["index.html"].xpath(icon)[0].endswith("favicon.svg")
