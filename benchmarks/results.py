"""Keeps benchmarks/RESULTS.md: one section a script, replaced when the script is run again."""
from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FILE = Path(__file__).with_name("RESULTS.md")
HEAD = "# Results\n\nMeasured, not promised: each section is written by the script that it names.\n"


def table(
    rows: list[dict],  # one dict a row, all with the same keys
) -> str:              # a markdown table
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([str(r[c]) for c in columns] for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def processor() -> str:
    "The machine in words, without its name."
    try: model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()).group(1).strip()
    except (OSError, AttributeError): model = platform.machine()
    return f"{os.cpu_count()} cores ({model})"


def versions(*packages: str) -> str:
    found = [f"Python {platform.python_version()}"]
    for name in packages:
        try: found.append(f"{name} {version(name)}")
        except PackageNotFoundError: found.append(f"{name} not installed")
    return ", ".join(found)


def write_section(
    title: str,         # of the section; the one with this title is replaced, or a new one is added at the end
    command: str,       # what was run, from the top of the repository
    text: str,          # markdown: tables, figures
    threads: int,
    packages: tuple[str, ...] = ("torch", "numpy"),
    file: Path = FILE,
) -> str:               # the section
    "Put a section into RESULTS.md, in place of the one with the same title."
    made_by = f"`{command}` · {threads} threads, {processor()} · {versions(*packages)}"
    section = f"## {title}\n\n{made_by}\n\n{text.strip()}\n"
    head, *old = re.split(r"^(?=## )", file.read_text() if file.exists() else HEAD, flags=re.M)
    same = [s.startswith(f"## {title}\n") for s in old]
    new = [section if hit else s for s, hit in zip(old, same)] + [section] * (not any(same))
    file.write_text("\n".join(part.strip() + "\n" for part in [head, *new]))
    return section


def peak_memory() -> int:
    "Most bytes that this process has held at once, since it was started."
    try: return 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text()).group(1))
    except (OSError, AttributeError):
        import resource
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
