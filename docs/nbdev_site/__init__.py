"""A Sphinx extension: notebooks and modules of an nbdev project as pages, read where they lie.

`nbs/31_evaluate.ipynb` is the document `nbs/31_evaluate`, `package/evaluate.py` is `reference/evaluate`. Code in
backticks that names something public becomes a link to it. Nothing is executed, imported or fetched.
"""
from __future__ import annotations

import fnmatch
import posixpath
from configparser import ConfigParser
from pathlib import Path

import nbformat
from docutils import nodes
from nbformat.v4 import new_markdown_cell, new_notebook
from sphinx import addnodes
from sphinx.project import Project
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.matching import patfilter

from . import notebooks, reference

REFERENCE = "reference/"


class Sources(Project):
    "The documents of the site: what lies in its folder, the notebooks, and a page for each module."

    def __init__(self, srcdir, source_suffix, root: Path, package: str, hidden: list[str]):
        super().__init__(srcdir, source_suffix)
        self.root, self.package, self.hidden = root, package, hidden

    def elsewhere(self) -> dict[str, Path]:
        "Documents outside the folder, and their files."
        found = {}
        for path in sorted((self.root / "nbs").rglob("*.ipynb")):
            inside = path.relative_to(self.root)
            name = inside.with_suffix("").as_posix()
            if not any(part[0] in "._" for part in inside.parts) and name not in self.hidden:
                found[name] = path
        for path in sorted((self.root / self.package).glob("[!_]*.py")):
            if REFERENCE + path.stem not in self.hidden: found[REFERENCE + path.stem] = path
        return found

    def discover(self, exclude_paths=(), include_paths=("**",)) -> set[str]:
        super().discover(exclude_paths, include_paths)
        for name, path in self.elsewhere().items():
            relative = Path(posixpath.relpath(path.as_posix(), Path(self.srcdir).as_posix()))
            self.docnames.add(name)
            self._docname_to_path[name] = relative
            self._path_to_docname[relative] = self._path_to_docname[path] = name
        return self.docnames


class Book:
    "What the extension knows about the project while a site is built."

    def __init__(self, root: Path):
        ini = ConfigParser(delimiters=["="])
        ini.read(root / "settings.ini", encoding="utf-8")
        self.root, self.settings = root, ini["DEFAULT"]
        folder = root / self.settings["lib_path"]
        self.package = folder.name
        self.modules = {m.name: m for m in reference.read_package(folder)}
        self.direct = reference.package_names(folder)
        self.symbols = reference.symbols(list(self.modules.values()))
        self.notebook_of = {m.notebook.removesuffix(".ipynb"): m for m in self.modules.values() if m.notebook}
        self.titles = {m.name: self._take_examples(m) for m in self.notebook_of.values()}

    def _take_examples(self, module: reference.Module) -> str:
        "Give a module's things the examples in its notebook, and say what that is called."
        notebook = nbformat.read(self.root / module.notebook, as_version=4)
        methods = [*(m for t in module.things for m in t.members), *module.patches]
        found = notebooks.examples(notebook.cells, [t.name for t in (*module.things, *methods)])
        own = [cell["id"] for name, cell in found.items() if "." not in name]
        for thing in (t for t in (*module.things, *methods) if t.name in found):
            cell = found[thing.name]
            if "." in thing.name and cell["id"] in own: continue  # a class's example is not shown again below it
            thing.example = notebooks.split_directives(cell.source)[1], notebooks.shown_text(cell.outputs)
        return notebooks.heading(notebook)[0]

    def home(self, docname: str) -> str:
        "The module that a page is about, or nothing."
        if docname.startswith(REFERENCE):
            return f"{self.package}.{docname.removeprefix(REFERENCE)}"
        return self.notebook_of[docname].name if docname in self.notebook_of else ""

    def target(self, path: str, folder: str, documents: set[str]) -> str:
        "Where a relative path written in a folder of the project leads on the site."
        inside = notebooks.resolve(path, folder)
        name = inside.removesuffix(".ipynb").removesuffix(".md")
        pages = {"nbs/index": "/index.md", "README": "/index.md", "CHANGELOG": "/changelog.md"}
        if name in pages:
            return pages[name]
        if inside.endswith(".ipynb") and name in documents:
            return path
        module = Path(inside)
        if module.suffix == ".py" and f"{module.parent.name}.{module.stem}" in self.modules:
            return f"/../{inside}"
        if module.suffix in (".png", ".svg", ".jpg", ".gif") and (self.root / inside).exists():
            return path
        return f"{self.settings['git_url']}/blob/{self.settings['branch']}/{inside}"

    def entry(self, name: str, home: str) -> str:
        "The reference entry of a name that a notebook shows."
        full = reference.lookup(name, self.symbols, home, self.direct) or (self.symbols.get(name) or [""])[0]
        for module in self.modules.values():
            for thing in module.things:
                for one in (thing, *thing.members):
                    if f"{module.name}.{one.name}" == full:
                        return reference.entry(one, module.name, indexed=False)
        raise ValueError(f"show_doc({name}): no public name of {self.package}")

    def read_notebook(self, text: str, docname: str, documents: set[str]) -> str:
        "The page of a notebook."
        folder, name = posixpath.split(docname)
        git = f"{self.settings['git_url']}/blob/{self.settings['branch']}/{docname}.ipynb"
        links = [f'<a href="{name}.ipynb" download>Download this notebook</a> (it runs where the package is installed)',
                 f"[On GitHub]({git})"]
        home = self.home(docname)
        if home and self.modules[home].says_something:
            links.append(f"{{doc}}`Reference </{REFERENCE}{home.rpartition('.')[2]}>`")
        page = notebooks.page(nbformat.reads(text, as_version=4), lambda path: self.target(path, folder, documents),
                              lambda n: self.entry(n, home), "{.notebook-links}\n" + " · ".join(links))
        return nbformat.writes(page)


class Notebooks(SphinxDirective):
    """A list of pages with their subtitles, and the table of contents made of them.

    A pattern of document names a line; `!` in front takes away. `:linked:` leaves the table of contents to others."""
    has_content = True
    option_spec = {"linked": lambda value: True}

    def chosen(self) -> list[str]:
        out: dict[str, None] = {}
        for line in filter(None, map(str.strip, self.content)):
            if line[0] == "!":
                out = {name: None for name in out if not fnmatch.fnmatch(name, line[1:])}
            else:
                out |= dict.fromkeys(sorted(patfilter(self.env.found_docs, line)))
        return list(out)

    def about(self, docname: str) -> str:
        "The subtitle of a page."
        path = Path(self.env.doc2path(docname))
        self.env.note_dependency(str(path))
        book = self.env.app.nbdev_book
        if path.suffix == ".py":
            return book.modules[book.home(docname)].doc
        if path.suffix == ".md":
            return notebooks.heading(new_notebook(cells=[new_markdown_cell(path.read_text(encoding="utf-8"))]))[1]
        return notebooks.heading(nbformat.read(path, as_version=4))[1]

    def run(self) -> list[nodes.Node]:
        names = self.chosen()
        lines = [] if "linked" in self.options or not names else [
            "```{toctree}", ":hidden:", "", *(f"/{name}" for name in names), "```", ""]
        lines += ["{.pages}", *(f"- {{doc}}`/{name}` <br>{reference.prose(self.about(name))}" for name in names)]
        return self.parse_text_to_nodes("\n".join(lines)) if names else []


class LinkNames(SphinxTransform):
    "Code that names something public leads to it."
    default_priority = 400

    def apply(self) -> None:
        book, home = self.app.nbdev_book, self.app.nbdev_book.home(self.env.docname)
        taken = (nodes.reference, nodes.title, addnodes.pending_xref, addnodes.download_reference,
                 addnodes.desc_signature)
        for literal in list(self.document.findall(nodes.literal)):
            parent = literal.parent
            while parent is not None and not isinstance(parent, taken):
                parent = parent.parent
            full = reference.lookup(literal.astext(), book.symbols, home, book.direct)
            if parent is None and full:
                literal.replace_self(addnodes.pending_xref(
                    "", literal.deepcopy(), refdomain="py", reftype="obj", reftarget=full, refexplicit=True,
                    refdoc=self.env.docname))


class LinkTypes(SphinxTransform):
    "The types in signatures are written by their short names: complete those that are ours."
    default_priority = 401

    def apply(self) -> None:
        book = self.app.nbdev_book
        for ref in self.document.findall(addnodes.pending_xref):
            if ref.get("refdomain") == "py" and ref.get("reftype") == "class":
                found = book.symbols.get(ref["reftarget"], [])
                if len(found) == 1:
                    ref["reftarget"] = found[0]


def use_sources(app) -> None:
    "Tell Sphinx where the documents are, and read the modules."
    book = Book(Path(app.confdir).parent)
    app.nbdev_book = book
    silent = [REFERENCE + m.short for m in book.modules.values() if not m.says_something]
    app.project = Sources(app.srcdir, app.config.source_suffix, book.root, book.settings["lib_path"],
                          ["nbs/index", *silent])
    app.env.project = app.project


def read_source(app, docname: str, source: list[str]) -> None:
    "What stands in a file becomes what Sphinx should read."
    book, path = app.nbdev_book, Path(app.env.doc2path(docname))
    if path.suffix == ".ipynb":
        source[0] = book.read_notebook(source[0], docname, app.env.found_docs)
    elif path.suffix == ".py":
        module = book.modules[book.home(docname)]
        if module.notebook: app.env.note_dependency(str(book.root / module.notebook))
        source[0] = reference.page(module, book.direct, book.titles.get(module.name, ""))


def lists_again(app, env, added: set, changed: set, removed: set) -> list[str]:
    "The pages that list others, where there are other ones than before."
    paths = {name: Path(env.doc2path(name)) for name in env.found_docs} if added or removed else {}
    return [name for name, p in paths.items() if p.suffix == ".md" and "{notebooks}" in p.read_text(encoding="utf-8")]


def find_code(app, name: str):
    "A module's source for the pages that show it, and where each name stands; for viewcode, which would import it."
    module = app.nbdev_book.modules.get(name)
    if module is None:
        return None
    things = [one for thing in module.things for one in (thing, *thing.members) if one.lines[0]]
    return module.source, {one.name: ("class" if one.kind == "class" else "def", *one.lines) for one in things}


def titles_only(toc: nodes.Element) -> nodes.Element:
    "Of a page's contents what a list of pages takes: its titles, and the pages that it lists itself."
    short = nodes.bullet_list()
    for item in toc:
        listed = [one.copy() for one in item.findall(addnodes.toctree)]
        if isinstance(item, nodes.list_item) and len(item):
            item = nodes.list_item("", item[0].deepcopy(), *([nodes.bullet_list("", *listed)] if listed else []))
        else: item = item.deepcopy()
        short += item
    return short


def short_sidebar(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    "The sidebar names pages and no headings; Sphinx copies the headings of all pages for each, a third of its time."
    tocs, env = app.env.tocs, app.env
    if not hasattr(app, "nbdev_titles"): app.nbdev_titles = {name: titles_only(toc) for name, toc in tocs.items()}
    whole = context["toctree"]

    def toctree(**options):
        env.tocs = app.nbdev_titles if options.get("titles_only") else tocs
        try: return whole(**options)
        finally: env.tocs = tocs
    context["toctree"] = toctree


def write_clean(app, error) -> None:
    "The notebooks to open, beside their pages."
    if error or app.builder.format != "html":
        return
    for name in app.env.found_docs:
        path = Path(app.env.doc2path(name))
        if path.suffix == ".ipynb":
            out = Path(app.outdir) / f"{name}.ipynb"
            out.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebooks.clean(nbformat.read(path, as_version=4)), out)


def setup(app):
    app.add_source_suffix(".py", "myst-nb")
    app.add_directive("notebooks", Notebooks)
    app.add_transform(LinkNames)
    app.add_transform(LinkTypes)
    app.connect("builder-inited", use_sources)
    app.connect("source-read", read_source)
    app.connect("env-get-outdated", lists_again)
    app.connect("viewcode-find-source", find_code)
    app.connect("html-page-context", short_sidebar)
    app.connect("build-finished", write_clean)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
