"""What tests of several folders share: a Chromium to look with."""
import importlib.util
import os
import shutil

import pytest

FLAGS = ("--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync").split()


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
