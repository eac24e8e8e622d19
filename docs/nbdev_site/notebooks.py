"""What a notebook becomes: a page for the site, and a clean copy to open.

Knows nbdev's directives and Quarto's callouts, and nothing of Sphinx: what comes out is a notebook whose Markdown is
MyST and whose cells carry the tags that MyST-NB understands.
"""
from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable
from copy import deepcopy

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

DIRECTIVE = re.compile(r"\s*#\s*\|\s*(.+?)\s*$")
LEFT_OUT = {"hide", "default_exp", "include: false", "exporti"}
TAGS = {"echo: false": "remove-input", "hide_input": "remove-input", "output: false": "remove-output",
        "hide_output": "remove-output", "code-fold: true": "hide-input", "collapse_input": "hide-input",
        "collapse_output": "hide-output"}
CALL_OF_TOOL = re.compile(r"(nbdev\.)?(nbdev_export|show_doc)\((.*)\)\s*;?", re.S)
CALLOUT = re.compile(r"^(:{3,})[ \t]*\{\.callout-(note|tip|warning|caution|important)([^}]*)\}[ \t]*$", re.M)
LINK = re.compile(r"(!?)(\[(?:[^\[\]`]|`[^`]*`)*\])\(<?([^()\s>]+)>?((?:\s+\"[^\"]*\")?)\)")
COMMON = {*dir(str), *dir(dict), *dir(set), "plot", "shape", "mean", "std", "sum", "take", "loc", "index", "columns",
          "to_frame", "name", "parts"}  # methods by which no class can be told
MOST_LINES, NO_EXAMPLE = 6, {"hide", "eval", "echo", "code-fold"}  # what an example is, and is not
CODE = re.compile(r"(^(`{3,}|~{3,}).*?^\2`*~*[ \t]*$|(?<!`)(`+)(?!`).+?(?<!`)\3(?!`)|\$\$.+?\$\$)", re.M | re.S)


def split_directives(source: str) -> tuple[dict[str, str], str]:
    "The `#| key: value` lines at the head of a code cell, and the rest of it. `#|hide_line` lines are gone."
    found, lines = {}, source.splitlines()
    while lines and (not lines[0].strip() or DIRECTIVE.match(lines[0])):
        if match := DIRECTIVE.match(lines.pop(0)):
            key, _, value = match[1].partition(":") if ":" in match[1] else match[1].partition(" ")
            found[key.strip()] = value.strip()
    kept = [line for line in lines if not re.search(r"#\s*\|\s*hide_line\s*$", line)]
    return found, "\n".join(kept).strip("\n")


def marks(directives: dict[str, str]) -> set[str]:
    "Directives as words: `hide`, and with their value, `echo: false`."
    return {*directives, *(f"{key}: {value}" for key, value in directives.items() if value)}


def outside_code(text: str, change: Callable[[str], str]) -> str:
    "Markdown with `change` applied to what is neither code nor displayed mathematics."
    parts, last = [], 0
    for match in CODE.finditer(text):
        parts += [change(text[last:match.start()]), match[0]]
        last = match.end()
    return "".join([*parts, change(text[last:])])


def callouts(text: str) -> str:
    "Quarto's `::: {.callout-note title=\"...\"}` as MyST's admonitions; a heading in the first line is the title."
    def admonition(match):
        fence, kind, options = match[1], match[2], match[3]
        title = re.search(r"title=[\"“]([^\"”]*)[\"”]", options)
        return f"{fence}{{admonition}} {title[1]}\n:class: {kind}" if title else f"{fence}{{{kind}}}"

    def headed(match):
        return f"{match[1]}{{admonition}} {match[3]}\n:class: {match[2]}\n"
    text = CALLOUT.sub(admonition, text)
    text = re.sub(r"^(:{3,})\{(note|tip|warning|caution|important)\}\s*\n#{1,6}[ \t]+(.+)\n", headed, text, flags=re.M)
    return re.sub(r"^(:{3,})[ \t]+$", r"\1", text, flags=re.M)


def slug(text: str) -> str:
    "The anchor of a heading, as the site makes it; `#The-fast-way` of Jupyter and `#the-fast-way` mean the same."
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")


def relink(text: str, target: Callable[[str], str]) -> str:
    "Markdown whose relative links go where `target` says; links to the web stay."
    def link(match):
        picture, words, href, title = match.groups()
        if re.match(r"[a-z][a-z+.-]*:", href):
            return match[0]
        path, hash_, anchor = href.partition("#")
        path = target(path) if path else ""
        anchor = anchor if re.match(r"https?:", path) else slug(anchor)
        return f"{picture}{words}({path}{hash_}{anchor}{title})"

    fenced = re.compile(r"(^(`{3,}|~{3,}).*?^\2[ \t]*$)", re.M | re.S)  # a link may hold code, a code block no link
    parts, last = [], 0
    for block in fenced.finditer(text):
        parts += [LINK.sub(link, text[last:block.start()]), block[0]]
        last = block.end()
    return "".join([*parts, LINK.sub(link, text[last:])])


def plain(text: str) -> str:
    "The words of a piece of Markdown."
    text = re.sub(r"(```|~~~).*?\1|\$\$.*?\$\$|^[ \t]*[|#:][^\n]*$", " ", text, flags=re.M | re.S)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^[ \t]*(>|[-*+]|\d+\.)[ \t]+", "", text, flags=re.M)
    return " ".join(re.sub(r"[*`$\\]|(?<!\w)_|_(?!\w)", "", text).split())


def first_sentence(text: str) -> str:
    "The first sentence of a piece of Markdown, without its marks."
    words = plain(text)
    match = re.match(r".+?[.!?:](?=\s|$)", words)
    return (match[0] if match else words).rstrip(":")


def heading(notebook: NotebookNode) -> tuple[str, str]:
    "Title and subtitle: the first heading, and the quotation or emphasis below it."
    source = next((c.source for c in notebook.cells if c.cell_type == "markdown" and c.source.strip()), "")
    below = r"(?:>[ \t]*(.+(?:\n>.*)*)|\*(.+)\*[ \t]*$)?"
    match = re.match(r"\s*#[ \t]+(.+?)[ \t]*\n(?:\s*\n)?" + below, source + "\n", re.M)
    if not match:
        return "", ""
    return plain(match[1]), plain((match[2] or match[3] or "").replace("\n>", " "))


def described(source: str, before: str, directives: dict[str, str], title: str) -> str:
    "What to say to who can't see a picture: `fig-alt`, the title that its code gives it, the sentence before it."
    if directives.get("fig-alt"):
        return directives["fig-alt"].strip("\"'")
    given = re.findall(r"(?:title\s*=|\b(?:set_)?(?:sup)?title\()\s*[\"']([^\"'{}\\]+)[\"']", source)
    return "; ".join(dict.fromkeys(given)) or first_sentence(before) or title


def is_hidden(cell: NotebookNode) -> bool:
    "Is this a cell that no reader gets?"
    if cell.cell_type == "raw" or not cell.source.strip():
        return True
    if cell.cell_type != "code":
        return False
    directives, source = split_directives(cell.source)
    call = CALL_OF_TOOL.fullmatch(source.strip())
    return bool(LEFT_OUT & marks(directives)) or (call is not None and call[2] == "nbdev_export")


def clean(notebook: NotebookNode) -> NotebookNode:
    "The notebook to open: no hidden cells, no directives, nothing of whoever ran it."
    out = deepcopy(notebook)
    out.cells = [cell for cell in out.cells if not is_hidden(cell)]
    for cell in out.cells:
        cell.metadata = NotebookNode()
        if cell.cell_type == "code":
            cell.source, cell.execution_count = split_directives(cell.source)[1], None
    return out


def _made(statement: ast.stmt) -> set[str]:
    "The names that a statement defines; a method is `Class.method`, in the class or with `@patch`."
    if isinstance(statement, ast.ClassDef):
        methods = (n.name for n in statement.body if isinstance(n, ast.FunctionDef))
        return {statement.name, *(f"{statement.name}.{name}" for name in methods)}
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        owner = statement.args.args[0].annotation if statement.args.args else None
        patched = any("patch" in ast.unparse(d) for d in statement.decorator_list) and owner
        return {f"{ast.unparse(owner)}.{statement.name}" if patched else statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {node.id for t in targets if t for node in ast.walk(t) if isinstance(node, ast.Name)}


def _called(node: ast.AST) -> str:
    "The name of what is called, without what it belongs to; nothing for another node."
    return getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""


def _uses(body: ast.Module) -> set[str]:
    """The names in a piece of code, the methods as `.method`, and the commands that it calls:
    `call("walk-forward", ...)` uses `walk`."""
    commands = [n.args[0].value for n in ast.walk(body) if _called(n) == "call" and n.args
                and isinstance(n.args[0], ast.Constant)]
    named = {n.id for n in ast.walk(body) if isinstance(n, ast.Name)}
    return named | {f".{n.attr}" for n in ast.walk(body) if isinstance(n, ast.Attribute)} | {
        c.partition("-")[0] for c in commands}


def _written(name: str) -> str:
    "How a name is found in code: a method by what stands after its dot, unless other libraries' things have it too."
    method = name.rpartition(".")[2]
    return name if method == name or method in COMMON else f".{method}"


def _code(cells: list[dict]):
    "Each cell of code, its directives and what it says, parsed."
    for cell in cells:
        if cell["cell_type"] == "code":
            directives, source = split_directives("".join(cell["source"]))
            try:
                yield cell, set(directives), source, ast.parse(source)
            except SyntaxError:  # a magic
                pass


def _exported(directives: set[str]) -> bool:
    return any(mark.startswith("export") for mark in directives)


def defined(cells: list[dict]) -> set[str]:
    "The names that the exported cells of a notebook define."
    return {name for _, marked, _, body in _code(cells) if _exported(marked) for s in body.body for name in _made(s)}


def examples(cells: list[dict], names: list[str]) -> dict[str, dict]:
    """The first shown cell below a name's definition that is an example of it: it has at most six lines, uses the name
    and has shown something. One that is marked slow is an example only where there is no other."""
    quick, slow, made = {}, {}, set()
    for cell, marked, source, body in _code(cells):
        if _exported(marked):
            made |= {name for statement in body.body for name in _made(statement)}
        elif (sum(map(bool, map(str.strip, source.splitlines()))) <= MOST_LINES and not NO_EXAMPLE & marked
              and any(output.get("name") != "stderr" for output in cell["outputs"])):
            found = slow if "slow" in marked else quick
            uses = _uses(body)
            found |= {name: cell for name in names if name in made - found.keys() and _written(name) in uses}
    return slow | quick


def shown_text(outputs: list[dict], most: int = 12) -> str:
    "What a cell has printed and shown, as far as that is text."
    parts = ["".join(o["text"]) if o["output_type"] == "stream" else "".join(o.get("data", {}).get("text/plain", ""))
             for o in outputs if o.get("name") != "stderr"]
    lines = "\n".join(part.rstrip("\n") for part in parts if part and not re.match(r"<.*>$", part)).splitlines()
    return "\n".join(lines[:most] + ["..."] * (len(lines) > most))


def _filtered(outputs: list, words: str) -> list:
    "Outputs without the printed lines that hold one of the words."
    for output in outputs:
        if output.output_type == "stream":
            lines = output.text.splitlines(keepends=True)
            output.text = "".join(line for line in lines if not any(w in line for w in words.split()))
    return [o for o in outputs if o.output_type != "stream" or o.text]


def below_refusals(text: str, level: int) -> int:
    "The level of the heading `What is refused` that what comes after this piece of Markdown stands below, or 0."
    for marks, words in re.findall(r"^(#{2,6})[ \t]+(.+)$", re.sub(r"(```|~~~).*?\1", "", text, flags=re.S), re.M):
        if "refused" in words.lower(): level = len(marks)
        elif level and len(marks) <= level: level = 0
    return level


def page(
    notebook: NotebookNode,                     # left as it is
    target: Callable[[str], str] = lambda p: p,  # where a relative path of this notebook leads on the site
    entry: Callable[[str], str] = lambda n: "",  # the reference entry of a name, as MyST
    links: str = "",                            # MyST, put below the title
) -> NotebookNode:
    "The notebook as MyST-NB should show it."
    out, cells, before, refusals = deepcopy(notebook), [], "", 0
    title = heading(notebook)[0]
    for cell in out.cells:
        if is_hidden(cell):
            continue
        if cell.cell_type == "markdown":
            before, refusals = cell.source, below_refusals(cell.source, refusals)
            cell.source = relink(callouts(cell.source), target)
            cells.append(cell)
            if len(cells) == 1 and links:
                cells.append(new_markdown_cell(links, id="notebook-links"))
            continue
        directives, cell.source = split_directives(cell.source)
        call = CALL_OF_TOOL.fullmatch(cell.source.strip())
        if call:
            name = re.match(r"[\w.]+", call[3])
            cells.append(new_markdown_cell(entry(name[0]) if name else "", id=cell.id))
            continue
        tags = [tag for mark, tag in TAGS.items() if mark in marks(directives)]
        about = {"image": {"alt": described(cell.source, before, directives, title)}}
        if refusals and not tags:
            tags = ["hide-input"]
            about |= {"code_prompt_show": "Show the refused calls", "code_prompt_hide": "Hide the refused calls"}
        if summary := directives.get("code-summary"):
            about |= {"code_prompt_show": summary.strip("\"'"), "code_prompt_hide": summary.strip("\"'")}
        cell.metadata = NotebookNode(tags=tags, mystnb=about)
        if "filter_stream" in directives:
            cell.outputs = _filtered(cell.outputs, directives["filter_stream"])
        for output in cell.outputs:
            if "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = relink(callouts("".join(output.data["text/markdown"])), target)
        cells.append(cell)
    out.cells = cells
    out.metadata.setdefault("language_info", NotebookNode(name="python", pygments_lexer="ipython3"))
    return out


def resolve(path: str, folder: str) -> str:
    "A relative path as seen from the top of the project; `folder` is where it was written."
    return posixpath.normpath(posixpath.join(folder, path))
