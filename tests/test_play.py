"""`panel.play`: a slider over the whole book in a notebook, a picture elsewhere, and nothing of later in either."""
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from eod_exit_ppo import ExitAt, Hold, IntradayPanel, LeastSquaresMC
from eod_exit_ppo.play import book_still, plot_book

PANEL = IntradayPanel.synthetic(D=3, T=5, N=40)
STEPS = LeastSquaresMC.fit(PANEL).exit_steps(PANEL)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def notebook(monkeypatch):
    "As if code ran in a kernel."
    pytest.importorskip("ipywidgets")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None)))


def drawn(axes):
    "All numbers of a picture."
    parts = [(ax.get_title(), ax.get_xlim(), ax.get_ylim(), [line.get_xydata() for line in ax.lines],
              [p.get_bbox().bounds for p in ax.patches], [x for c in ax.collections for x in c.get_segments()])
             for ax in axes]
    return repr([(*numbers, *([a.tolist() for a in x] for x in (lines, segments)), bars)
                 for *numbers, lines, bars, segments in parts])


@pytest.mark.parametrize("until", range(4))
def test_what_comes_later_does_not_show(until):
    rng, past = np.random.default_rng(until), np.arange(PANEL.T) <= until
    later = np.where(past[:, None], PANEL.returns, rng.normal(0, 0.2, PANEL.returns.shape)).astype(np.float32)
    other = np.where(STEPS > until, rng.integers(until + 1, PANEL.T, STEPS.shape), STEPS)
    pictures = [drawn(plot_book(panel, steps, 1, until))
                for panel, steps in ((PANEL, STEPS), (PANEL.with_arrays(returns=later), other))]
    assert pictures[0] == pictures[1]


def test_exits_and_net_are_those_of_the_book():
    paths, held = plot_book(PANEL, STEPS, day=2)
    dots = [line for line in paths.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in dots) == PANEL.N
    assert sorted(x for line in dots for x in line.get_xdata()) == sorted(STEPS[2])
    from eod_exit_ppo import exposure
    np.testing.assert_allclose(held.lines[0].get_ydata()[1:], 100 * exposure(PANEL, STEPS)["net"][2], atol=1e-9)


def test_elsewhere_it_is_a_picture_of_the_whole_day(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert "t4: 40 of 40 positions exited" in PANEL.play(1)[0].get_title()
    assert drawn(PANEL.play(1, STEPS)) == drawn(plot_book(PANEL, STEPS, 1))


def test_without_ipywidgets_it_is_a_picture(notebook, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert drawn(PANEL.play(1, Hold())) == drawn(plot_book(PANEL, Hold(), 1))


def test_in_a_notebook_the_slider_shows_each_snapshot(notebook):
    (button, slider), words, picture = (lambda box: (box[0].children, *box[1:]))(PANEL.play(1, ExitAt(2)).children)
    assert (slider.min, slider.max, slider.value, button.max) == (0, 4, 0, 4)
    for t in (3, 0, 4):
        slider.value = t
        assert (picture.value, words.value) == book_still(PANEL[1], ExitAt(2).exit_steps(PANEL[1]), t)
        assert PANEL.times[t] in words.value and f"{0 if t < 2 else 40} of 40" in words.value
    assert not plt.get_fignums()


@pytest.mark.parametrize("until, kind, says", [(5, ValueError, "until is 5: give a snapshot from 0 to 4"),
                                               (-1, ValueError, "until is -1: give a whole number"),
                                               (1.5, TypeError, "until is 1.5: give a whole number")])
def test_no_such_snapshot(until, kind, says):
    with pytest.raises(kind, match=says): plot_book(PANEL, Hold(), until=until)
    assert not plt.get_fignums()


def test_what_is_no_policy_is_refused():
    with pytest.raises(TypeError): PANEL.play(0, 3)
    with pytest.raises(ValueError, match="exit_steps has shape"): PANEL.play(0, STEPS[:1])
    with pytest.raises((IndexError, ValueError), match="day"): PANEL.play(3)


def test_the_notebook_shows_the_slider_and_the_page_a_still():
    notebook = Path(__file__).parents[1] / "nbs/37_play.ipynb"
    cells = {cell["id"]: cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]}
    played, still = cells["show-play"], cells["show-still"]
    assert not "".join(played["source"]).rstrip().endswith(";")  # which would keep the widget from being shown
    assert not played["outputs"]                                 # a committed one would be dead
    assert any("image/png" in output["data"] for output in still["outputs"])
