"""The site, built as `make docs` builds it but with the network cut off; served; and a Chromium to look at it with.

What is missing on a machine (the tools of the site, Chromium, npm) makes these tests skip and say so."""
import fcntl
import functools
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "_docs" / "cache"
AXE = "4.10.3"
BUILD = """
import sys
def no_network(event, args):
    if event == "socket.getaddrinfo" or event == "socket.connect" and isinstance(args[1], tuple):
        raise OSError(f"the build asked for the network: {event} {args}")
sys.addaudithook(no_network)
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


def build(out):
    "The site in out/html; the test fails with what Sphinx says when it fails."
    command = [sys.executable, "-c", BUILD, "-q", "-W", "--keep-going", "-b", "html", "-d", out / "doctrees",
               ROOT / "docs", out / "html"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    "A site built from nothing, warnings as errors, without a network; SITE=folder looks at another."
    if os.environ.get("SITE"):
        return Path(os.environ["SITE"])
    if lacking := [m for m in ("sphinx", "myst_nb", "sphinx_book_theme", "lxml") if not importlib.util.find_spec(m)]:
        pytest.skip(f"{', '.join(lacking)} not installed: `make docs` installs what the site needs")
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ: base = base.parent  # one site for all workers: who comes second waits
    out = base / "site"
    with open(base / "site.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "built").exists():
            build(out)
            (out / "built").touch()
    return out / "html"


@pytest.fixture(scope="session")
def pages(site):
    "Every page, as a path from the site's top."
    found = sorted(p.relative_to(site).as_posix() for p in site.rglob("*.html") if "_static" not in p.parts)
    assert len(found) > 30
    return found


@pytest.fixture(scope="session")
def trees(site, pages):
    "Every page, parsed."
    from lxml import html
    parser = html.HTMLParser(encoding="utf-8", huge_tree=True)
    return {page: html.parse(site / page, parser).getroot() for page in pages}


@pytest.fixture(scope="session")
def host(site):
    "The address at which the site is served."
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def axe():
    "The source of axe-core, fetched from npm once."
    path = CACHE / f"axe-core-{AXE}.js"
    if not path.exists():
        if not shutil.which("npm"):
            pytest.skip("no npm on this machine, which axe-core comes from")
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "pack", "--silent", f"axe-core@{AXE}"], cwd=CACHE, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm could not fetch axe-core {AXE}: {done.stderr.strip()[-200:]}")
        archive = CACHE / done.stdout.split()[-1]
        with tarfile.open(archive) as tar:
            source = tar.extractfile("package/axe.min.js").read()
        archive.unlink()
        path.write_bytes(source)
    return path.read_text(encoding="utf-8")
