"""What must stay consistent across the repository's own files."""
import base64
import io
import json
import re
import sys
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

import eod_exit_ppo

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))
config = ConfigParser(delimiters=["="])
config.read(ROOT / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]


def pins(name):
    "The (package, version) pairs of a lock."
    return {tuple(re.split("==| ;", line)[:2]) for line in (ROOT / name).read_text().splitlines() if line[0] != "#"}


def here(name):
    "Package -> version of a lock, those lines that count for this Python on this machine."
    lines = map(Requirement, (line for line in (ROOT / name).read_text().splitlines() if line[0] != "#"))
    return {r.name: str(r.specifier) for r in lines if r.marker is None or r.marker.evaluate()}


def test_one_version_everywhere():
    version = settings["version"]
    assert eod_exit_ppo.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("lock, keys", [("requirements.lock", ["requirements"]),
                                        ("requirements-dev.lock", ["requirements", "dev_requirements"]),
                                        ("requirements-docs.lock", ["docs_requirements"])])
def test_lock_pins_every_requirement(lock, keys):
    pinned = {name for name, _ in pins(lock)}
    wanted = {re.split("[<>=!~;]", r)[0] for key in keys for r in settings[key].split()}
    assert wanted <= pinned, f"run make lock: {lock} has no {wanted - pinned}"


def test_locks_agree_and_leave_gpu_libraries_out():
    assert pins("requirements.lock") <= pins("requirements-dev.lock")
    dev, docs = here("requirements-dev.lock"), here("requirements-docs.lock")
    assert not {name for name in dev.keys() & docs.keys() if dev[name] != docs[name]}, "both go into one environment"
    names = {name for lock in ("dev", "docs") for name, _ in pins(f"requirements-{lock}.lock")}
    assert not [name for name in names if re.match("nvidia|cuda|triton", name)]


def test_development_tools_are_not_requirements():
    assert not re.search("nbdev|fastcore|execnb|jupyter|ipython", settings["requirements"], re.I)
    for module in (ROOT / "eod_exit_ppo").glob("[!_]*.py"):
        assert not re.search(r"^\s*(from|import) (nbdev|fastcore|execnb|IPython)\b", module.read_text(), re.M), module


def links(path):
    "The relative links of a Markdown file."
    return re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page):
    broken = [link for link in links(ROOT / page) if not (ROOT / link).exists()]
    assert not broken


def test_front_page_lists_every_notebook():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [p.name for p in (ROOT / "nbs").rglob("[0-9]*.ipynb") if f"({p.relative_to(ROOT)})" not in page]
    assert not missing, f"not in the map of nbs/index.ipynb: {missing}"


def test_the_moving_picture_ends_on_the_line_and_stands_still_where_asked():
    svg = (ROOT / "images/settling.svg").read_text(encoding="utf-8")
    assert len(svg) < 200_000 and "@media (prefers-reduced-motion: reduce)" in svg and "<script" not in svg
    points = re.search(r'<polyline class="line" points="([^"]+)"', svg)[1].split()
    line = np.array([p.split(",") for p in points], float)
    dots = np.array(re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*animation-name', svg), float)
    assert len(dots) >= 20
    assert np.abs(dots[:, 1] - np.interp(dots[:, 0], *line.T)).mean() < 4, "in pixels, of about 40 a percent"
    start = [float(y) for y in re.findall(r"@keyframes d\d+ \{ 0.0% \{ transform: translateY\(([-\d.]+)px", svg)]
    assert np.abs(start).mean() > 20
    axis = max(float(y) for y in re.findall(r'class="axis" d="M[\d.]+ ([\d.]+)H', svg))
    moves = re.findall(r"@keyframes d\d+ \{.*", svg)
    lowest = [y + max(map(float, re.findall(r"translateY\(([-\d.]+)px", m))) for y, m in zip(dots[:, 1], moves)]
    assert len(moves) == len(dots) and max(lowest) < axis + 0.2, "no dot lies on the numbers below"


def test_stored_pictures_have_two_pixels_for_one_of_the_page():
    from PIL import Image
    seen, coarse = 0, []
    for path in (ROOT / "nbs").rglob("[!_.]*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", ()):
                if "image/png" not in output.get("data", {}): continue
                pixels = Image.open(io.BytesIO(base64.b64decode("".join(output["data"]["image/png"])))).width
                shown = output["metadata"].get("image/png", {}).get("width", pixels)
                if not 2 * shown <= pixels <= 2 * shown + 1: coarse.append((path.name, cell["id"], pixels, shown))
                seen += 1
    assert seen > 50 and not coarse, "run them by tools/notebooks.py --save; give the picture of a file its width="


def test_a_picture_keeps_its_colours_in_a_palette():
    from notebooks import in_palette
    from PIL import Image

    from eod_exit_ppo.style import COLOURS, FREE
    wanted = [tuple(int(c[i:i + 2], 16) for i in (1, 3, 5)) for c in {*COLOURS.values(), *FREE, "#ffffff"}]
    rows = np.repeat(np.repeat(np.array([wanted], np.uint8), 40, 0), 40, 1)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)  # more colours than a palette has
    png = io.BytesIO()
    Image.fromarray(np.concatenate([rows, noise], 1)).save(png, format="PNG")
    before = base64.b64encode(png.getvalue()).decode()
    after = in_palette(before)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(after))).convert("RGB"))
    assert len(after) < len(before)
    assert np.abs(picture[:, :rows.shape[1]].astype(int) - rows).max() <= 3
