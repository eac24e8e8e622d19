"""Write the locks (requirements*.lock) from settings.ini. Needs `uv`.

One lock serves every Python from 3.10 on: environment markers tell the versions apart. Pins that are there already
stay unless `--upgrade` is given. The oldest lock has every requirement of the package at its lower bound; those are
older than Python 3.13.
"""
from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The torch that the package is tested with. What a GPU build of it needs besides is left to pip: a lock that named
# those libraries would download gigabytes of them onto machines without a GPU.
TORCH = "torch==2.13.0"
GPU_ONLY = re.compile(r"(nvidia|cuda|triton)\b")
HEADER = "# {what}, for Python {python}. Made from settings.ini by `make lock`; do not edit.\n"


def compile_lock(uv: str, requirements: list[str], constraints: list[str], old: Path, options: list[str]) -> list[str]:
    "The pinned lines for `requirements`, keeping the pins of the file `old` where they still fit."
    with tempfile.TemporaryDirectory() as tmp:
        source, limits, out = (Path(tmp) / name for name in ("in.txt", "limits.txt", "out.txt"))
        source.write_text("\n".join(requirements))
        limits.write_text("\n".join(constraints))
        if old.exists():
            out.write_text(old.read_text())
        subprocess.run([uv, "pip", "compile", "--quiet", "--universal", *options, "--no-header", "--no-annotate",
                        "--constraint", limits, source, "--output-file", out], check=True, stdout=subprocess.DEVNULL)
        lines = out.read_text().splitlines()
    return [line for line in lines if re.match(r"[A-Za-z0-9]", line) and not GPU_ONLY.match(line)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uv", default="uv", help="the uv to call")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    args = parser.parse_args()
    ini = ConfigParser(delimiters=["="])
    ini.read(ROOT / "settings.ini", encoding="utf-8")
    config = ini["DEFAULT"]
    runtime, dev, docs = (config[k].split() for k in ("requirements", "dev_requirements", "docs_requirements"))
    options = ["--python-version", config["min_python"], *(["--upgrade"] if args.upgrade else [])]

    lowest = [r.replace(">=", "==") for r in runtime]
    later, until = config["min_python"] + " and later", config["min_python"] + " to 3.12"
    pins: list[str] = [TORCH]
    for name, what, python, wanted, limits in [
            ("requirements.lock", "What the package needs to run", later, runtime, [TORCH]),
            ("requirements-dev.lock", "The same and what its tests need", later, runtime + dev, None),
            ("requirements-docs.lock", "What the site is built and tested with", later, docs, None),
            ("requirements-oldest.lock", "The oldest versions that the package admits", until, lowest + dev, [])]:
        try:
            pins = compile_lock(args.uv, wanted, pins if limits is None else limits, ROOT / name, options)
        except FileNotFoundError:
            sys.exit(f"make lock needs uv, and {args.uv!r} is not there: pip install uv, or make lock UV=path/to/uv")
        (ROOT / name).write_text(HEADER.format(what=what, python=python) + "\n".join(pins) + "\n")
        print(f"{name}: {len(pins)} pins")


if __name__ == "__main__":
    main()
