"""The page on which one position's day is tried by hand: its numbers are the package's, and it needs nothing else."""
import json
import re
from pathlib import Path

import numpy as np
import pytest

from eod_exit_ppo import ExactOptimum, IntradayPanel, make_synthetic_data
from eod_exit_ppo.bounds import ShadowPrice
from eod_exit_ppo.terms import Impact

NOTEBOOK = json.loads((Path(__file__).parents[1] / "nbs/explorer.ipynb").read_text(encoding="utf-8"))
OPTIMUM = ExactOptimum.synthetic()


def tenths(x):
    "In tenths of a basis point, as the page has them."
    return 1e5 * np.asarray(x)


@pytest.fixture(scope="module")
def page():
    "What the notebook's cell shows."
    cell = next(c for c in NOTEBOOK["cells"] if c["id"] == "explorer")
    return "".join(cell["outputs"][0]["data"]["text/html"])


@pytest.fixture(scope="module")
def numbers(page):
    found = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)[1])
    return {name: np.array(values) if name != "times" else values for name, values in found.items()}


def test_the_page_is_what_the_notebook_writes(page):
    source = next("".join(c["source"]) for c in NOTEBOOK["cells"] if c["id"] == "page")
    before, after = re.search(r'"""(.*)"""', source, re.S)[1].replace(r"\\u", r"\u").split("NUMBERS")
    assert page.startswith(before) and page.endswith(after)


def test_it_needs_nothing_from_outside_and_every_slider_has_its_words(page):
    assert not re.search(r"https?:|//cdn|\bsrc=|\bimport\b|fetch\(", page)
    assert 'aria-live="polite"' in page and "<label>" in page and 'type="range"' in page


def test_without_impact_the_line_and_its_worth_are_the_exact_optimum(numbers):
    signals, zero = numbers["signals"], np.flatnonzero(numbers["impacts"] == 0)[0]
    for c, cost in enumerate(numbers["costs"] / 1e5):
        line = OPTIMUM.boundary(signals, (cost, 0)) + cost
        np.testing.assert_allclose(numbers["line"][zero, c], tenths(line).T, atol=0.51)
        np.testing.assert_allclose(numbers["best"][zero, c], tenths(OPTIMUM.value(signals, (cost, 0))), atol=0.51)
    assert not numbers["price"][zero].any()
    np.testing.assert_allclose(numbers["promise"], tenths(0.02 * np.outer(signals, OPTIMUM.f)), atol=0.51)
    noise = make_synthetic_data(1, 8, len(numbers["noise"]), seed=8, alpha=0)[1][0].T
    np.testing.assert_allclose(numbers["noise"], tenths(noise), atol=0.51)


@pytest.mark.parametrize("k, c", [(1, 0), (3, 4), (-1, -1)])
def test_with_impact_they_are_those_of_the_shadow_prices(numbers, k, c):
    cost, signals, days = numbers["costs"][c] / 1e5, numbers["signals"], IntradayPanel.synthetic()[:4]
    charged = days.with_arrays(costs=np.float32([[cost] * days.N, [0] * days.N]))
    rule = ShadowPrice.fit(charged, Impact(numbers["impacts"][k] / 1e5), OPTIMUM).rule
    np.testing.assert_allclose(numbers["price"][k, c], tenths(rule.prices), atol=2)
    np.testing.assert_allclose(numbers["line"][k, c], tenths(rule.boundary(signals, (cost, 0)) + cost).T, atol=2)
    np.testing.assert_allclose(numbers["best"][k, c], tenths(rule.value(signals, (cost, 0))), atol=2)


def test_what_a_reader_is_told_to_see_is_so(numbers):
    hold = numbers["promise"][:, -1] - numbers["price"][..., -1:]
    assert (numbers["best"] >= hold - 1).all(), "the best exit is never worth less than holding"
    assert (np.diff(numbers["line"], axis=2) > 0).all(), "a stronger signal lifts the line"
    assert (np.diff(numbers["line"], axis=1) > 0).mean() > 0.95, "and so does a cost"
    assert (np.diff(numbers["best"], axis=1) <= 1).mean() > 0.95
    assert (np.diff(numbers["line"][0], axis=-1) <= 0).all(), "without impact it falls towards the close"
