"""What a module offers, read from its source: names, signatures, docments, errors. Nothing is imported or run."""
from __future__ import annotations

import ast
import copy
import io
import re
import tokenize
from collections.abc import Container
from dataclasses import dataclass, field, replace
from pathlib import Path

SHOWN_SPECIAL = {"__call__", "__getitem__", "__iter__"}
RAISES = re.compile(r"(?:(?<=^)|(?<=[.;:]\s)|(?<=\n))(Raises\s.+?)(?:\.(?=\s|$)|$)", re.S)
MOST_LINES = 40  # of a constant's value; what is longer can be read in the source


@dataclass
class Parameter:
    name: str
    annotation: str = ""
    default: str = ""
    comment: str = ""


@dataclass
class Thing:
    "A public name: function, class, method, classmethod, staticmethod, property, or data."
    name: str                 # `Class.method` for a member
    kind: str
    doc: str = ""
    parameters: list[Parameter] = field(default_factory=list)
    returns: Parameter | None = None
    signature: str = ""       # with the parentheses
    bases: list[str] = field(default_factory=list)
    raises: list[str] = field(default_factory=list)
    value: str = ""
    lines: tuple[int, int] = (0, 0)
    members: list[Thing] = field(default_factory=list)
    home: str = ""            # the full name where it is defined, if that is elsewhere
    example: tuple[str, str] = ("", "")  # code, and what it shows


@dataclass
class Module:
    name: str                 # package.module
    doc: str
    source: str
    things: list[Thing]
    notebook: str = ""        # where it was written, from the top of the project
    patches: list[Thing] = field(default_factory=list)  # methods that are added here to classes of other modules
    added: list[str] = field(default_factory=list)      # their full names, where their classes are public

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def says_something(self) -> bool:
        "Does a reader find anything here? A module of helpers has no page."
        return bool(self.things or self.added)


class Source:
    "Source text with its comments."
    def __init__(self, text: str):
        self.text, self.lines = text, text.splitlines()
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        self.comments = {t.start[0]: (t.start[1], t.string.lstrip("#").strip()) for t in tokens
                         if t.type == tokenize.COMMENT}
        self.aliases: dict[str, ast.expr] = {}  # Name = Annotated[...]

    def after(self, line: int, column: int, between: str) -> str:
        "The comment on a line, if all that stands between it and the column matches."
        if line not in self.comments:
            return ""
        start, comment = self.comments[line]
        return comment if re.fullmatch(between, self.lines[line - 1][column:start]) else ""

    def above(self, line: int) -> str:
        "The comment that fills the lines above a line."
        found = []
        while line - 1 in self.comments and not self.lines[line - 2][:self.comments[line - 1][0]].strip():
            line -= 1
            found.insert(0, self.comments[line][1])
        return " ".join(found)

    def of(self, node: ast.AST, last: ast.AST | None = None) -> str:
        "The docment of a parameter or field: at the end of its line, or on the lines above it."
        last = last or node
        column = len(self.lines[last.end_lineno - 1].encode()[:last.end_col_offset].decode())
        return self.after(last.end_lineno, column, r"\s*,?\s*") or self.above(node.lineno)


    def segment(self, node: ast.AST) -> str:
        "The text of a node, as it is written; ast.get_source_segment splits the whole text each time."
        lines = self.lines[node.lineno - 1:node.end_lineno]
        lines[-1] = lines[-1].encode()[:node.end_col_offset].decode()
        lines[0] = lines[0].encode()[node.col_offset:].decode()
        return "\n".join(lines)


class _Unquoted(ast.NodeTransformer):
    "Names in quotes, as in list['Panel'], without them."
    def visit_Constant(self, node):
        named = isinstance(node.value, str) and node.value.isidentifier()
        return ast.copy_location(ast.Name(node.value), node) if named else node


def _text(node: ast.AST | None) -> str:
    return "" if node is None else ast.unparse(_Unquoted().visit(copy.deepcopy(node)))


def _name(node: ast.AST) -> str:
    "The last part of a decorator's or base's name."
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _arguments(node: ast.FunctionDef, bound: bool) -> list[tuple[str, ast.arg, ast.expr | None]]:
    "(mark, argument, default) of each parameter; the mark is one of '', '/', '*', '**', or 'only' after a bare star."
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(plain) - len(a.defaults)) + a.defaults
    out = [("/" if i < len(a.posonlyargs) else "", arg, d) for i, (arg, d) in enumerate(zip(plain, defaults))]
    out = out[1:] if bound else out
    out += [("*", a.vararg, None)] if a.vararg else []
    out += [("only", arg, d) for arg, d in zip(a.kwonlyargs, a.kw_defaults)]
    return out + ([("**", a.kwarg, None)] if a.kwarg else [])


def _said(annotation: ast.AST | None, source: Source) -> tuple[str, str]:
    "Type and words of an annotation; `Annotated[int, Option(help=...)]`, a call or a name for one, has both."
    if isinstance(annotation, ast.Name) and annotation.id in source.aliases:
        annotation = source.aliases[annotation.id]
    if isinstance(annotation, ast.Call) and len(annotation.args) > 1:  # option(int, "words", ...), of a command line
        kind, *about = annotation.args
    elif isinstance(annotation, ast.Subscript) and _name(annotation.value) == "Annotated":
        kind, *about = annotation.slice.elts
    else:
        return _text(annotation), ""
    words = [k.value for call in about if isinstance(call, ast.Call) for k in call.keywords if k.arg == "help"] + about
    return _text(kind), next((w.value for w in words if isinstance(w, ast.Constant) and isinstance(w.value, str)), "")


def _parameters(node: ast.FunctionDef, source: Source, bound: bool) -> list[Parameter]:
    out = []
    for mark, arg, default in _arguments(node, bound):
        kind, words = _said(arg.annotation, source)
        out.append(Parameter((mark if "*" in mark else "") + arg.arg, kind,
                             "" if default is None else source.segment(default),
                             source.of(arg, default) or words))
    return out


def _signature(node: ast.FunctionDef, parameters: list[Parameter], bound: bool) -> str:
    "Names and defaults; annotations too where no table explains the parameters."
    typed, parts, starred, positional = not any(p.comment for p in parameters), [], False, False
    for (mark, _, _), p in zip(_arguments(node, bound), parameters):
        if positional and mark != "/":
            parts.append("/")
        if mark == "only" and not starred:
            parts.append("*")
        positional, starred = mark == "/", starred or mark in ("*", "only")
        annotation = f": {p.annotation}" if typed and p.annotation else ""
        equals = f" = {p.default}" if annotation else f"={p.default}"
        parts.append(p.name + annotation + (equals if p.default else ""))
    if positional:
        parts.append("/")
    returns = f" -> {_text(node.returns)}" if node.returns else ""
    return f"({', '.join(' '.join(part.split()) for part in parts)}){returns}"


def _returns(node: ast.FunctionDef, source: Source) -> Parameter | None:
    "What comes back: the annotation, and the comment behind it or behind the closing parenthesis."
    if node.returns:
        end = node.returns
        column = len(source.lines[end.end_lineno - 1].encode()[:end.end_col_offset].decode())
        comment = source.after(end.end_lineno, column, r"\s*:\s*")
        return Parameter("returns", _text(node.returns), comment=comment)
    for line in range(node.lineno, node.body[0].lineno):
        if line in source.comments and re.fullmatch(r"\s*\)\s*:\s*", source.lines[line - 1][:source.comments[line][0]]):
            return Parameter("returns", comment=source.comments[line][1])
    return None


def _raised(node: ast.FunctionDef) -> list[str]:
    "The exceptions that this body raises by name."
    names = [_name(n.exc) for n in ast.walk(node) if isinstance(n, ast.Raise) and n.exc is not None]
    return sorted({n for n in names if n.endswith(("Error", "Exception", "Warning", "Exit"))})


def _function(node: ast.FunctionDef, source: Source, owner: str = "") -> Thing:
    decorators = {_name(d) for d in node.decorator_list}
    special = ("property", "classmethod", "staticmethod")
    kind = next((k for k in special if {k, f"cached_{k}"} & decorators), "method" if owner else "function")
    if "setter" in decorators:
        kind = "setter"
    bound = bool(owner) and kind != "staticmethod"
    parameters = _parameters(node, source, bound)
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return Thing(f"{owner}.{node.name}" if owner else node.name, kind, ast.get_docstring(node) or "", parameters,
                 _returns(node, source), _signature(node, parameters, bound), raises=_raised(node),
                 lines=(start, node.end_lineno))


def _fields(node: ast.ClassDef, source: Source) -> list[Parameter]:
    "Annotated attributes, which a dataclass or named tuple takes; of an enumeration, its values."
    out = []
    for item in node.body:
        target = item.target if isinstance(item, ast.AnnAssign) else (
            item.targets[0] if isinstance(item, ast.Assign) and "Enum" in {_name(b) for b in node.bases} else None)
        if isinstance(target, ast.Name) and not target.id.startswith("_"):
            default = "" if item.value is None else source.segment(item.value)
            out.append(Parameter(target.id, _text(getattr(item, "annotation", None)), default, source.of(item)))
    return out


def _assigned_property(node: ast.Assign, owner: str) -> Thing:
    "`D = property(lambda self: ..., doc='...')`."
    doc = next((k.value.value for k in node.value.keywords if k.arg == "doc" and isinstance(k.value, ast.Constant)), "")
    return Thing(f"{owner}.{_name(node.targets[0])}", "property", doc, lines=(node.lineno, node.end_lineno))


def _class(node: ast.ClassDef, source: Source) -> Thing:
    functions = [n for n in node.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    init = next((n for n in functions if n.name == "__init__"), None)
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    thing = Thing(node.name, "class", ast.get_docstring(node) or "", bases=[_text(b) for b in node.bases],
                  lines=(start, node.end_lineno))
    made = {_name(d) for d in node.decorator_list} | {_name(b) for b in node.bases}
    if init:
        thing.parameters = _parameters(init, source, bound=True)
        thing.signature = _signature(init, thing.parameters, bound=True)
        thing.raises = _raised(init)
        thing.doc = thing.doc or ast.get_docstring(init) or ""
    else:
        thing.parameters = _fields(node, source)
        if {"dataclass", "NamedTuple"} & made:
            thing.signature = "(" + ", ".join(p.name + (f"={' '.join(p.default.split())}" if p.default else "")
                                              for p in thing.parameters) + ")"
    thing.raises += [r for n in functions if n.name == "__post_init__" for r in _raised(n)]
    members = [_function(n, source, node.name) for n in functions if n.name[0] != "_" or n.name in SHOWN_SPECIAL]
    members += [_assigned_property(n, node.name) for n in node.body if isinstance(n, ast.Assign)
                and isinstance(n.value, ast.Call) and _name(n.value) in ("property", "cached_property")]
    thing.members = [m for m in members if m.kind != "setter"]
    return thing


def _data(node: ast.Assign | ast.AnnAssign, name: str, source: Source) -> Thing:
    if name in source.aliases:
        kind, words = _said(source.aliases[name], source)
        return Thing(name, "data", source.of(node) or words, returns=Parameter("type", kind),
                     lines=(node.lineno, node.end_lineno))
    value = "" if node.value is None else source.segment(node.value)
    return Thing(name, "data", source.of(node), value=value, lines=(node.lineno, node.end_lineno),
                 returns=Parameter("type", _text(getattr(node, "annotation", None))))


def _owners(node: ast.FunctionDef) -> list[str]:
    "The classes that a function with `@patch` becomes a method of; nothing for an ordinary function."
    if not {"patch", "patch_to"} & {_name(d) for d in node.decorator_list}:
        return []
    called = next((d for d in node.decorator_list if isinstance(d, ast.Call) and _name(d) == "patch_to"), None)
    where = called.args[0] if called else (node.args.args[0].annotation if node.args.args else None)
    return [_name(n) for n in ast.walk(where) if isinstance(n, (ast.Name, ast.Attribute))] if where else []


def exported(tree: ast.Module) -> list[str] | None:
    "The names in `__all__`; None without one."
    for node in tree.body:
        if isinstance(node, ast.Assign) and _name(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def read_source(text: str, name: str) -> Module:
    "A module's public things, in the order in which they are defined."
    tree, source, things, patches = ast.parse(text), Source(text), [], []
    public = exported(tree)
    source.aliases = {_name(n.targets[0]): n.value for n in tree.body if isinstance(n, ast.Assign) and (
        isinstance(n.value, ast.Subscript) and _name(n.value.value) == "Annotated"
        or _name(n.value) in ("option", "argument"))}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            owners = _owners(node)
            if owners and node.name[0] == "_" and node.name not in SHOWN_SPECIAL:
                continue
            for owner in owners:
                here = next((t.members for t in things if t.name == owner and t.kind == "class"), patches)
                here.append(_function(node, source, owner))
            things += [] if owners else [_function(node, source)]
        elif isinstance(node, ast.ClassDef):
            things.append(_class(node, source))
        elif _name(getattr(node, "value", None)) in ("property", "cached_property"):  # Class.name = property(...)
            at = node.targets[0]
            owner = next((t for t in things if isinstance(at, ast.Attribute) and t.name == _name(at.value)), None)
            if owner:
                owner.members.append(_assigned_property(node, owner.name))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [t for target in targets for t in getattr(target, "elts", [target])]
            things += [_data(node, t.id, source) for t in names if isinstance(t, ast.Name) and t.id[0] != "_"]
        elif isinstance(node, ast.ImportFrom) and node.level == 1 and public:
            things += [Thing(a.asname or a.name, "data", home=f"{node.module}.{a.name}",
                             lines=(node.lineno, node.end_lineno)) for a in node.names]
    # defined twice: the last wins
    seen = {t.name: t for t in things if (t.name in public if public is not None else t.name[0] != "_")}
    notebook = re.search(r"^# AUTOGENERATED!.*File to edit: (?:\.\./)*(\S+\.ipynb)", text, re.M)
    return Module(name, ast.get_docstring(tree) or "", text, list(seen.values()), notebook[1] if notebook else "",
                  patches)


def read_package(folder: Path) -> list[Module]:
    "The modules of a package, by name; what starts with an underscore is nobody's business."
    modules = [read_source(path.read_text(encoding="utf-8"), f"{folder.name}.{path.stem}")
               for path in sorted(folder.glob("[!_]*.py"))]
    classes = {n.name for module in modules for n in ast.parse(module.source).body if isinstance(n, ast.ClassDef)}
    inner = classes - {t.name for module in modules for t in module.things}  # no business of a reader
    for thing in (t for module in modules for t in module.things):
        thing.bases = [b for b in thing.bases if b not in inner]
    made = {f"{m.short}.{t.name}": t for m in modules for t in m.things}
    for module, patch in ((m, p) for m in modules for p in m.patches):
        for other, owner in ((m, t) for m in modules for t in m.things if t.kind == "class" and not t.home):
            if owner.name == patch.name.partition(".")[0]:
                patch.lines = (0, 0)  # its source is in another module
                owner.members.append(patch)
                module.added.append(f"{other.name}.{patch.name}")
    for module in modules:
        module.things = [replace(made[t.home], name=t.name, home=f"{folder.name}.{t.home}", members=[], lines=t.lines)
                         if t.home in made else t for t in module.things]
    return modules


def package_names(folder: Path) -> dict[str, str]:
    "What can be imported from the package itself, and the module that it comes from."
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    homes = {a.asname or a.name: node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
             for a in node.names}
    return {name: homes.get(name, "") for name in exported(tree) or ()}


# Writing it down, as MyST

def escape(text: str) -> str:
    "Words that stand in Markdown as they are, code in backticks left alone; fit for a table."
    parts = re.split(r"(`+[^`]+`+|\$[^$\s](?:[^$]*[^$\s])?\$)", " ".join(text.split()))
    special = re.compile(r"([\\*<>\[\]{}$#~]|(?<!\w)_|_(?!\w))")
    return "".join(part if i % 2 else special.sub(r"\\\1", part) for i, part in enumerate(parts)).replace("|", "\\|")


def code(text: str) -> str:
    "Code in a table's cell, whatever it contains."
    text = " ".join(text.split()).replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}" if text else ""


def prose(text: str) -> str:
    "A docstring as Markdown: it may use it, but an opening `<` is no HTML."
    parts = re.split(r"(```.*?```|`+[^`]+`+)", text, flags=re.S)
    return "".join(part if i % 2 else part.replace("<", "\\<") for i, part in enumerate(parts))


def split_errors(doc: str) -> tuple[str, list[str]]:
    "A docstring without its sentences about errors, and these."
    errors = [" ".join(m.split()).removeprefix("Raises ") for m in RAISES.findall(doc)]
    return re.sub(r"[ \t]+\n", "\n", RAISES.sub("", doc)).strip(), errors


def table(thing: Thing) -> str:
    "Parameters and what comes back, a row each; empty if nothing is said about any."
    rows = [*thing.parameters, *([thing.returns] if thing.returns and thing.kind != "data" else [])]
    if not any(p.comment for p in rows) and not (thing.kind == "class" and rows):
        return ""
    def row(p, name): return f"| {name} | {code(p.annotation)} | {code(p.default)} | {escape(p.comment)} |"
    names = [f"**{escape(p.name)}**" for p in thing.parameters] + ["*returns*"]
    return "\n".join([":::{table}", ":class: docments", "", "| name | type | default | meaning |", "|---|---|---|---|",
                      *map(row, rows, names), ":::"])


def _value(thing: Thing) -> str:
    lines = thing.value.splitlines()
    if len(lines) < 2:
        return ""
    more = ["..."] if len(lines) > MOST_LINES else []
    return "\n".join(["~~~python", f"{thing.name} = {lines[0]}", *lines[1:MOST_LINES], *more, "~~~"])


def _article(noun: str) -> str:
    return "an" if noun.rpartition(".")[2][0] in "AEIOUaeiou" else "a"


def _example(thing: Thing) -> str:
    "Code that uses the thing, and what it shows."
    source, shown = thing.example
    lines = ["~~~python", source, "~~~", *(["~~~text", shown, "~~~"] if shown else [])]
    return "\n".join(["{.example}", "**Example:**", "", *lines]) if source else ""


def entry(thing: Thing, module: str, depth: int = 0, indexed: bool = True) -> str:
    "The reference entry of a thing and its members."
    doc, errors = split_errors(thing.doc)
    if not errors and thing.raises:
        errors = [" or ".join(f"`{name}`" for name in thing.raises)]
    fence = "`" * (12 - depth)
    kind = {"classmethod": "method", "staticmethod": "method"}.get(thing.kind, thing.kind)
    options = [f":module: {module}", *([] if indexed else [":no-index:"])]
    options += [f":{thing.kind}:"] if thing.kind in ("classmethod", "staticmethod") else []
    if thing.kind in ("property", "data") and thing.returns and thing.returns.annotation:
        options.append(f":type: {thing.returns.annotation}")
    if thing.kind == "data" and thing.value and "\n" not in thing.value:
        options.append(f":value: {thing.value}")
    name = thing.name if kind != "method" or depth == 0 else thing.name.rpartition(".")[2]
    if kind == "property" and depth:
        name = thing.name.rpartition(".")[2]
    parts = [f"{fence}{{py:{kind}}} {name}{'' if kind in ('property', 'data') else thing.signature}", *options, ""]
    bases = [b for b in thing.bases if b != "object" and b.rpartition(".")[2][0] != "_"]
    parts += [f"Is {' and '.join(f'{_article(b)} {code(b)}' for b in bases)}.", ""] if bases else []
    if thing.home:
        body, errors = [f"The same as {{py:obj}}`{thing.home}`: {prose(doc)}"], []
    else:
        body = [prose(doc), _value(thing), table(thing), _example(thing) if indexed else ""]
    body += [f"{{.errors}}\n**Errors:** {prose(e)}." for e in errors]
    body += [entry(member, module, depth + 1, indexed) for member in thing.members]
    parts += [part + "\n" for part in body if part]
    return "\n".join([*parts, fence])


def page(module: Module, direct: dict[str, str] | None = None, title: str = "") -> str:
    "The reference page of a module. `direct`: what can be imported from the package itself, and from which module."
    package = module.name.partition(".")[0]
    here = [t.name for t in module.things if (direct or {}).get(t.name) == module.short]
    parts = [f"# {module.short}{' · ' * bool(title)}{title}", "", f"> {prose(module.doc)}" if module.doc else "", "",
             f"```{{py:module}} {module.name}\n```", ""]
    if module.notebook:
        where = module.notebook.removesuffix(".ipynb")
        parts += [f"Explained, built and tested in the notebook {{doc}}`/{where}`, as are the examples.", ""]
    if module.added:
        names = [f"{{py:obj}}`{'.'.join(full.rsplit('.', 2)[1:])} <{full}>`" for full in module.added]
        parts += [f"It adds to classes of other modules: {', '.join(names)}.", ""]
    if here:
        parts += [f"From the package itself: `from {package} import {', '.join(here)}`; "
                  f"everything here: `from {module.name} import ...`.", ""]
    return "\n".join([*parts, *(entry(t, module.name) + "\n" for t in module.things)])


def symbols(modules: list[Module]) -> dict[str, list[str]]:
    "Every way to write a public name, and the full names that it may stand for. Fields stand for their class."
    out: dict[str, list[str]] = {}

    def add(module, name, full):
        for written in (name, f"{module.short}.{name}", f"{module.name}.{name}"):
            if full not in out.setdefault(written, []):
                out[written].append(full)
    for module in modules:
        for thing in module.things:
            full = f"{module.name}.{thing.name}"
            add(module, thing.name, thing.home or full)
            for member in thing.members:
                add(module, member.name, f"{module.name}.{member.name}")
            for p in thing.parameters if thing.kind == "class" else ():
                add(module, f"{thing.name}.{p.name}", full)
    return out


def lookup(words: str, table: dict[str, list[str]], home: str = "", direct: Container[str] = ()) -> str | None:
    """The full name that code in a text stands for, or None.

    `home` is the module that the text is about: its names come first. A lone word in lower case is taken for a name
    only there, or where the package itself offers it: it might as well be a parameter."""
    match = re.fullmatch(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\(.*\))?", words.strip(), re.S)
    if not match or not (found := table.get(match[1])):
        return None
    own = [full for full in found if home and full == f"{home}.{match[1]}"]
    if own:
        return own[0]
    word = match[1]
    telling = "." in word or "_" in word.strip("_") or word != word.lower() or match[2] or word in direct
    return found[0] if len(found) == 1 and telling else None
