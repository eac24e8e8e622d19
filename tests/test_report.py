"""The report where a notebook can't look: another current folder, a foreign kernel of the same name, a real browser."""
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from eod_exit_ppo import ExitAt, Hold, IntradayPanel, PPOConfig, payoff
from eod_exit_ppo.page import outside_requests
from eod_exit_ppo.report import TEMPLATE, headline, make_report, monthly_table, score_table
from eod_exit_ppo.runs import keep_walk, open_run
from eod_exit_ppo.walk import WalkForward, walk_forward

SCRIPT = "<script>document.title='caught'</script><img src=x onerror=\"document.title='caught'\">"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    "A walk whose tickers, times and names would run if they were taken for HTML."
    folder, config = tmp_path_factory.mktemp("walk"), PPOConfig(epochs=1, rollouts_per_epoch=4, hidden=8)
    p = IntradayPanel.synthetic(D=40, T=4, N=12)
    p = IntradayPanel(p.signals, p.returns, p.weights, dates=p.dates, times=["$x^", "<i>noon", "late", "close"],
                      tickers=[SCRIPT, *p.tickers[1:]])
    result = walk_forward(p, config, WalkForward(20, 10), 1, 1, progress=False, name=SCRIPT)
    account = [dict(of="bars", fate="left out", reason=SCRIPT, date="2020-01-01", ticker=SCRIPT, rows=3, detail=SCRIPT)]
    about = dict(main=SCRIPT, config=asdict(config) | {"note": SCRIPT}, splitter=SCRIPT)
    keep_walk(result, folder / "<i>run", about, pd.DataFrame(account))
    return folder / "<i>run"


@pytest.fixture(scope="module")
def page(walk, tmp_path_factory):
    "Asked for from another folder, by relative paths."
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(walk.parent)
        out = Path(os.path.relpath(folder / "deep" / "report.html"))
        make_report(walk.name, out, keep_notebook=folder / "kept.ipynb")
    return folder / "deep" / "report.html"


def test_nothing_from_data_becomes_html(page):
    text = page.read_text()

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "i") and not any(name.startswith("on") for name, _ in attrs), (tag, attrs)
    Tags().feed(text)
    assert "&lt;script&gt;" in text
    assert outside_requests(text) == []
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", text)


@pytest.mark.skipif(BROWSER is None, reason="no browser here")
@pytest.mark.parametrize("width", [1200, 800, 390])
def test_in_a_browser(page, width, tmp_path):
    "Nothing ran, nothing is wider than the screen but what scrolls by itself."
    probe = """<script>onload = () => { document.title = [document.title, document.documentElement.scrollWidth,
        innerWidth, [...document.images].filter(i => !i.naturalWidth).length].join('|') }</script>"""
    policy = re.compile(r"<meta http-equiv[^>]*>\n")
    probed = tmp_path / "probed.html"  # the page's own policy would not let the probe run
    probed.write_text(policy.sub("", page.read_text()).replace("</main>", f"</main>{probe}"))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
               f"--window-size={width},900", "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    title, wide, inner, broken = re.search("<title>(.*?)</title>", done.stdout)[1].rsplit("|", 3)
    assert title.startswith("&lt;i&gt;run: ") and int(wide) <= int(inner) and broken == "0"


@pytest.mark.parametrize("name", ["gain", "policy", "days", "hold (%)", "mean", "index", "hold"])
def test_whatever_a_policy_is_called(name, tmp_path):
    "Names that are columns of a table change nothing in it; a policy called hold that does not hold is refused."
    panel = IntradayPanel.synthetic(D=40, T=4, N=12)
    result = walk_forward(panel, splitter=WalkForward(20, 10), policies={name: lambda train: ExitAt(1)}, name=None,
                          jobs=1, progress=False)
    if name == "hold":
        with pytest.raises(ValueError, match="policy 'hold' has .* another name"): keep_walk(result, tmp_path)
        return
    keep_walk(result, tmp_path)
    run, days = open_run(tmp_path), result.panel
    own, hold = payoff(days, result.exit_steps[name][0]), payoff(days, Hold().exit_steps(days))
    table, scores = monthly_table(run).loc["all"], score_table(run).set_index("policy")
    want = [len(own), 100 * hold.sum(), 100 * own.sum(), 100 * (own - hold).sum(), 100 * (own > hold).mean()]
    assert table.tolist() == pytest.approx(want)
    assert scores.index.tolist() == ["hold", name] and f"{1e4 * (own - hold).mean():+,.1f}" in headline(run)
    assert scores.loc[name, "gain over holding (bps)"] == f"{1e4 * (own - hold).mean():+,.1f}"


def test_from_another_folder_with_relative_paths(walk, page):
    assert os.listdir(walk.parent) == [walk.name]
    kept = nbformat.read(page.parents[1] / "kept.ipynb", as_version=4)
    nbformat.validate(kept)
    assert page.is_file() and any(c.get("outputs") for c in kept.cells)


def test_runs_in_this_python_whatever_kernel_is_installed(walk, tmp_path, monkeypatch):
    "A kernel that is called python3 and belongs to another environment is common."
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps(dict(argv=["/bin/false"], display_name="x", language="python")))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    cells = [nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}),
             nbformat.v4.new_code_cell("import sys\nprint(sys.executable)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "mine.ipynb")
    make_report(walk, tmp_path / "report.html", template=tmp_path / "mine.ipynb")
    assert sys.executable in (tmp_path / "report.html").read_text()


def test_the_template_that_ships_is_clean():
    nb = nbformat.read(TEMPLATE, as_version=4)
    nbformat.validate(nb)
    assert not any(c.get("outputs") or c.get("execution_count") for c in nb.cells)
    assert [c.id for c in nb.cells if "parameters" in c.metadata.get("tags", [])] == ["parameters"]
