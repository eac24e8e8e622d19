"""README.md is nbs/index.ipynb as Markdown; this writes it, pictures to images/. `--check` only compares.

In the notebook, `#| hide` leaves a cell out, `#| echo: false` leaves its code out, and `#| fig-alt: ...` says what a
picture shows. Links are written as seen from nbs/ and are turned to the top folder.
"""
from __future__ import annotations

import argparse
import posixpath
import re
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
IMAGES = "images"
HEADER = "<!-- Made from nbs/index.ipynb by `make readme`; edit the notebook. -->\n\n"
DIRECTIVE = re.compile(r"^#\|\s*(.+?)\s*\n?$", re.M)
RELATIVE_LINK = re.compile(r"(\]\(|src=\")(?![a-z]+:|#|/|images/)([^)\"\s]+)")


def front_page() -> dict[str, bytes]:
    "The files that the front page should consist of, by their path from the top folder."
    notebook = nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4)
    metadata = {"language_info": {"name": "python"}}  # for the colours of the code
    parts, files = [], {}
    for cell in notebook.cells:
        marks = DIRECTIVE.findall(cell.source) if cell.cell_type == "code" else []
        if "hide" in marks:
            continue
        alt = next((m.split(":", 1)[1].strip() for m in marks if m.startswith("fig-alt:")), "")
        if cell.cell_type == "code":
            cell.source = DIRECTIVE.sub("", cell.source).strip("\n")
        exporter = MarkdownExporter(exclude_input="echo: false" in marks)
        alone = nbformat.v4.new_notebook(cells=[cell], metadata=metadata)
        text, resources = exporter.from_notebook_node(alone)
        for i, (name, data) in enumerate(resources["outputs"].items()):
            path = f"{IMAGES}/{cell.id}{f'-{i}' if i else ''}{Path(name).suffix}"
            text = re.sub(rf"!\[[^\]]*\]\({re.escape(name)}\)", lambda _, p=path, a=alt: f"![{a}]({p})", text)
            files[path] = data
        parts.append(re.sub(r"<style.*?</style>\s*", "", text, flags=re.S).strip())
    text = "\n\n".join(filter(None, parts)) + "\n"
    text = RELATIVE_LINK.sub(lambda m: m[1] + posixpath.normpath(posixpath.join("nbs", m[2])), text)
    return {"README.md": (HEADER + text).encode(), **files}


def differences(files: dict[str, bytes]) -> list[str]:
    "The paths that are missing, out of date, or no longer part of the front page."
    stale = [p for p, data in files.items() if not (ROOT / p).exists() or (ROOT / p).read_bytes() != data]
    left = [f"{IMAGES}/{p.name}" for p in (ROOT / IMAGES).glob("*") if f"{IMAGES}/{p.name}" not in files]
    return stale + left


def main() -> None:
    parser = argparse.ArgumentParser(description="README.md from nbs/index.ipynb.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if README.md is out of date")
    args = parser.parse_args()
    files = front_page()
    changed = differences(files)
    if args.check:
        if changed:
            sys.exit(f"FAILED {', '.join(changed)}: not what nbs/index.ipynb makes; run `make readme`")
        return print(f"README.md and {len(files) - 1} pictures are what nbs/index.ipynb makes")
    for path in changed:
        if path in files:
            (ROOT / path).parent.mkdir(exist_ok=True)
            (ROOT / path).write_bytes(files[path])
        else:
            (ROOT / path).unlink()
    print("README.md: " + (", ".join(changed) if changed else "nothing changed"))


if __name__ == "__main__":
    main()
