"""`make lab` as a newcomer types it, in a real Chromium: notebooks open there and run from top to bottom.

One is run by `make test`, all of those without slow cells by `make test-all`."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from sizes import size

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))
from notebooks import directives, find_notebooks  # noqa: E402

SCREENSHOT = ROOT / "_docs" / "screenshots" / "lab.png"
CHOSEN = ["03_exits.ipynb"]
QUICK = [p.relative_to(ROOT / "nbs").as_posix() for p in find_notebooks()
         if not any("slow" in directives(c) for c in nbformat.read(p, 4).cells)]


def cells(path):
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if c["cell_type"] == "code" and "".join(c["source"]).strip()]


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser):
    "The folder of the notebooks, and the address of a Lab that `make lab` has started in a copy of the project."
    if not (ROOT / ".venv").is_dir(): pytest.skip("no .venv: `make test` makes it")
    plan = subprocess.run(["make", "--dry-run", "lab"], cwd=ROOT, capture_output=True, text=True)
    if "Installing" in plan.stdout: pytest.fail(".venv is not what the locks say, and `make lab` in a copy would "
                                                "install the copy into it: `make test` brings it up to date")
    home, token = tmp_path_factory.mktemp("lab"), "newcomer"
    project, config = home / "eod_exit_ppo", home / "config"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(
        ".*", "_docs", "build", "dist", "*.egg-info", "__pycache__"))
    (project / ".venv").symlink_to(ROOT / ".venv")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    config.mkdir()  # what a newcomer has on a desk, and a test has not: a window, and an account that is not root
    (config / "jupyter_server_config.json").write_text(json.dumps(dict(
        ServerApp=dict(open_browser=False, port=port, port_retries=0, allow_root=True),
        IdentityProvider=dict(token=token))))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "MAKE", "MFLAGS"))}
    env |= dict(JUPYTER_CONFIG_DIR=str(config), JUPYTER_RUNTIME_DIR=str(home / "runtime"),
                IPYTHONDIR=str(home / "ipython"),
                JUPYTERLAB_SETTINGS_DIR=str(home / "settings"),
                JUPYTERLAB_WORKSPACES_DIR=str(home / "workspaces"))
    with (home / "log").open("w") as log, subprocess.Popen(
            ["make", "lab"], cwd=project, env=env, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True) as server:
        try:
            until = time.monotonic() + 180
            while True:
                try: urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=5).close()
                except OSError:
                    if server.poll() is not None or time.monotonic() > until:
                        pytest.fail("make lab did not start:\n" + (home / "log").read_text()[-3000:])
                    time.sleep(0.2)
                else: break
            yield project / "nbs", f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}&reset"
        finally: os.killpg(server.pid, signal.SIGKILL)


def opened(browser):
    page = browser.new_page(viewport=dict(width=1280, height=900))
    page.set_default_timeout(180_000)  # of a machine that has other work
    return page


def run_all(page, path):
    "Choose Run All Cells, save until every cell has its number, and return what went wrong."
    page.locator(".jp-NotebookPanel-toolbar").wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    before = path.stat().st_mtime_ns
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    until = time.monotonic() + 600
    while time.monotonic() < until:
        page.wait_for_timeout(1000)
        page.keyboard.press("Control+s")
        page.wait_for_timeout(500)
        if path.stat().st_mtime_ns == before: continue
        now = cells(path)
        errors = [f"{o['ename']}: {o['evalue']}" for c in now for o in c["outputs"] if o["output_type"] == "error"]
        if errors or all(c["execution_count"] for c in now): return errors
    return [f"{sum(not c['execution_count'] for c in now)} of {len(now)} cells did not run"]


@pytest.mark.parametrize("name", size(CHOSEN, QUICK))
def test_a_notebook_runs_from_top_to_bottom(lab, browser, name):
    folder, address = lab
    page = opened(browser)
    page.goto(address.format(name))
    assert run_all(page, folder / name) == []
    page.close()


def test_a_training_shows_its_progress(lab, browser):
    folder, address = lab
    source = ("from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig\n"
              "agent = FactorizedPPOEOD.from_panel(IntradayPanel.synthetic(D=10, N=20), config=PPOConfig(epochs=60))\n"
              "agent.train()\nagent")
    cell = nbformat.v4.new_code_cell(source)
    kernel = dict(kernelspec=dict(name="python3", display_name="python3", language="python"))
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), folder / "progress.ipynb")
    page = opened(browser)
    page.goto(address.format("progress.ipynb"))
    assert run_all(page, folder / "progress.ipynb") == []
    output = page.locator(".jp-OutputArea")
    output.get_by_text("60/60").wait_for()  # the bar, a widget
    assert page.locator(".widget-hprogress, .widget-html").count() and page.get_by_text("training: 100%").count() == 1
    for text in ("Epoch 025 | Eval avg EOD PnL", "FactorizedPPOEOD: decides when"):
        assert output.get_by_text(text).count() == 1
    page.screenshot(path=SCREENSHOT)
    page.close()
