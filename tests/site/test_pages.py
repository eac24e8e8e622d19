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
MODULES = sorted(p.stem for p in (ROOT / "eod_exit_ppo").glob("[!_]*.py"))
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


def test_every_notebook_has_a_page_and_a_clean_copy(site):
    missing = [p for p in NOTEBOOKS for end in (".html", ".ipynb") if not (site / p).with_suffix(end).exists()]
    assert not missing
    assert not list(site.rglob("_[a-z]*.ipynb"))
    assert not [p for p in site.glob("_sources/**/*") if p.is_file()], "sources are shipped as they are"


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_hidden_cells_are_not_shipped(notebook, site, soups):
    cells = json.loads((ROOT / notebook).read_text(encoding="utf-8"))["cells"]
    copy = json.loads((site / notebook).read_text(encoding="utf-8"))["cells"]
    shown = [soups[notebook.replace(".ipynb", ".html")].get_text(), *("".join(c["source"]) for c in copy)]
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and re.match(r"\s*#\|\s*(hide|default_exp)\b", source):
            hidden = "\n".join(line for line in source.splitlines() if not line.startswith("#|")).strip()
            assert not hidden or not [s for s in shown if hidden in s], f"{notebook}, cell {cell['id']}"
    assert not [s for s in shown if re.search(r"^#\|", s, re.M)]
    assert {c["id"] for c in copy} <= {c["id"] for c in cells}


def test_links_and_anchors_resolve(site, soups):
    anchors = {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in soups.items()}
    broken = []
    for page, soup in soups.items():
        for tag in soup.select("a[href], link[href], img[src], script[src]"):
            href = tag.get("href") or tag.get("src")
            if re.match(r"(https?|mailto|data|javascript):", href):
                continue
            path, anchor = urldefrag(urljoin(f"/{page}", href.split("?")[0] if "#" not in href else href))
            path, anchor = unquote(path).lstrip("/") or "index.html", unquote(anchor)
            if not (site / path).is_file() or (anchor and path in anchors and anchor not in anchors[path]):
                broken.append(f"{page}: {href}")
    assert not broken


def test_nothing_is_asked_of_another_host(soups):
    loading = "script[src], link[rel~=stylesheet], link[rel~=icon], link[rel~=preload], img, iframe"
    loads = [f"{page}: {tag}" for page, soup in soups.items() for tag in soup.select(loading)
             if re.match(r"(https?:)?//", tag.get("src") or tag.get("href") or "")]
    assert not loads


def test_pictures_say_what_they_show(soups):
    pictures = [(page, img["src"], img.get("alt", "").strip()) for page in soups for img in soups[page].find_all("img")]
    mute = [p for p in pictures if not p[2] or " " not in p[2] and re.search(r"\.(png|svg)$|/", p[2])]
    assert pictures
    assert not mute


def test_no_local_paths(site, pages):
    every = [site / page for page in pages] + list(site.rglob("*.ipynb"))
    assert not [f"{p.name}: {m[0]}" for p in every if (m := OURS.search(p.read_text(encoding="utf-8")))]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_an_entry_with_its_source(module, soups):
    soup = soups[f"reference/{module}.html"]
    lacking = []
    for name in public(module):
        sig = soup.find("dt", id=f"eod_exit_ppo.{module}.{name}")
        if sig is None or not (sig.select_one("a .viewcode-link") or sig.select_one("a.viewcode-link")):
            home, _, member = name.partition(".")
            thing = getattr(importlib.import_module(f"eod_exit_ppo.{module}"), home)
            made_in = getattr(getattr(thing, member, None), "__module__", thing.__module__) if callable(thing) else ""
            sourced = made_in in ("", f"eod_exit_ppo.{module}")  # a method that another module adds is shown there
            lacking += [name] if sig is None or callable(thing) and (sourced or not member) else []
    assert not lacking


def test_the_package_names_its_modules_names(soups):
    text = " ".join(soups[f"reference/{m}.html"].get_text() for m in MODULES)
    assert not [name for name in eod_exit_ppo.__all__ if name not in text]


def test_every_entry_has_an_example(soups):
    "Below the entry itself, not below one of its members."
    lacking = []
    for module in MODULES:
        for name in importlib.import_module(f"eod_exit_ppo.{module}").__all__:
            entry = soups[f"reference/{module}.html"].find("dt", id=f"eod_exit_ppo.{module}.{name}").parent
            own = entry.find("dd").find("p", class_="example", recursive=False)
            if own is None and "The same as" not in entry.get_text(): lacking.append(f"{module}.{name}")
    assert not lacking


def test_reading_order_is_the_order_of_the_numbers_and_of_next(soups):
    "From the front page, Next leads through the parts and their notebooks; pages have titles, not names of modules."
    page, road = "index.html", []
    while (link := soups[page].select_one("a.right-next")) and link.get("href"):
        page = urljoin(f"/{page}", link["href"]).lstrip("/")
        road.append(page)
    numbered = [p.replace(".ipynb", ".html") for p in NOTEBOOKS if re.search(r"/\d", p)]
    assert [p for p in road if p in numbered] == sorted(numbered)
    parts = [p for p in road if p.startswith("story/")]
    assert parts == sorted(parts) and len(parts) == 7
    for part, first in zip(parts, ("0", "10", "12", "15", "3", "4", "9")):
        assert re.match(rf"nbs/{first}", road[road.index(part) + 1])
    assert not [p for p in road if p.startswith("reference/") and "·" not in soups[p].find("h1").get_text()]


def test_parameters_stand_in_tables(soups):
    rows = [[cell.get_text(" ", strip=True) for cell in row.find_all("td")]
            for row in soups["reference/objective.html"].select("table.docments tr")]
    assert [row for row in rows if row[:2] == ["panel", "IntradayPanel"]]
    link = "table.docments a[href*='data.html#eod_exit_ppo.data.IntradayPanel']"
    assert soups["reference/objective.html"].select(link)


def test_front_page(soups):
    soup = soups["index.html"]
    article = soup.find("article")
    assert article.find("img")["alt"] and "make demo" in article.get_text() and "make test" in article.get_text()
    doors = [a["href"] for a in article.select("ul.doors a")]
    assert doors == ["story.html", "howto.html", "reference.html"]
    assert soup.find("link", rel="icon")["href"].endswith("favicon.svg")
