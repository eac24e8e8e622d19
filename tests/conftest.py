"""What tests of several folders share: a Chromium to look with, which tests are long ones, what each test costs."""
import importlib.util
import os
import shutil
from collections import Counter

import pytest
from sizes import ALL

FLAGS = ("--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync").split()
COST, LONG, SINCE = Counter(), pytest.StashKey[int](), pytest.StashKey[float]()


@pytest.fixture(scope="session")
def browser():
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(
        shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
    if not chromium:
        pytest.skip("no Chromium on this machine: .ci/run installs it, or set CHROMIUM to where it is")
    if not importlib.util.find_spec("playwright"):
        pytest.skip("playwright not installed: `make docs` installs what the site needs")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        with p.chromium.launch(executable_path=chromium, args=FLAGS) as started:
            yield started


# ---- long tests: marked slow, run where EOD_ALL is set, and counted where they are not ----
def pytest_collection_modifyitems(config, items):
    long = [] if ALL else [item for item in items if item.get_closest_marker("slow")]
    if long:
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    config.stash[LONG] = len(long)


def pytest_sessionfinish(session):
    output = getattr(session.config, "workeroutput", None)  # of a worker of xdist, which each collect all
    if output is not None: output["long"] = session.config.stash.get(LONG, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    node.config.stash[LONG] = getattr(node, "workeroutput", {}).get("long", 0)


# ---- processor time, of the test's process and of the children that have ended ----
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report, now = (yield), sum(os.times()[:4])
    report.processor_seconds, item.config.stash[SINCE] = now - item.config.stash.get(SINCE, now), now
    return report


def pytest_runtest_logreport(report):
    COST[report.nodeid] += getattr(report, "processor_seconds", 0)  # none of a worker that has died


def pytest_terminal_summary(terminalreporter, config):
    for name, seconds in COST.most_common(config.getoption("durations") or 10):
        terminalreporter.write_line(f"{seconds:6.1f} s of processor time {name}")
    if long := config.stash.get(LONG, 0):
        terminalreporter.write_line(f"{long} long tests are left out: `make test-all` runs them")
