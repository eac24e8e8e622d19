"""What was earned, computed once more: from the arrays of a walk, in plain loops that share nothing with the package.

The interval draws the same blocks, by the same generator; everything else is arithmetic from a textbook."""
import html
import json
import re
from math import e, sqrt

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from eod_exit_ppo import (ExitAt, Exits, FactorizedPPOEOD, Hold, IntradayPanel, LeastSquaresMC, PPOConfig, Threshold,
                          WalkForward, compare, walk_forward)
from eod_exit_ppo.bootstrap import block_bootstrap, block_length, detectable
from eod_exit_ppo.cli import app
from eod_exit_ppo.evaluate import break_even, days_in_year, trades
from eod_exit_ppo.page import table_html
from eod_exit_ppo.plots import plot_costs, plot_day, plot_exit_times, plot_exposure, plot_payoff
from eod_exit_ppo.report import cost_picture, exposure_picture, headline, monthly_table, score_table, trading_table
from eod_exit_ppo.runs import keep_walk, open_run
from eod_exit_ppo.significance import best_of, deflated_sharpe, in_and_out, market_part, sharpe_probability

HALF_HOURS = [f"{m // 60}:{m % 60:02d}" for m in range(600, 961, 30)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A walk with costs by stock and books of uneven weights, kept in a folder and opened again."
    folder, p = tmp_path_factory.mktemp("walk"), IntradayPanel.synthetic(D=95, T=5, N=14)
    market = np.random.default_rng(5).normal(0, 0.02, (95, 5, 1)).cumsum(1).astype(np.float32)
    p = IntradayPanel(p.signals, p.returns / 4 + market, p.weights * np.linspace(1, 3, 14), dates=p.dates,
                      times=p.times, tickers=p.tickers).with_costs(np.linspace(0, 5, 14), np.linspace(1, 2, 14))
    fits = {"rule": Threshold.fit, "other": LeastSquaresMC.fit}
    keep_walk(walk_forward(p, splitter=WalkForward(35, 20), policies=fits, name=None, jobs=1, progress=False, tried=4),
              folder)
    return open_run(folder)


class Plain:
    "The same figures by hand."
    def __init__(self, panel, steps, blocks=None):
        self.days, self.costs, self.traded, self.market = [], [], [], []
        D, T, N = panel.shape
        for d in range(D):
            w = [float(x) for x in panel.weights[d]]
            long, short = sum(x for x in w if x > 0), -sum(x for x in w if x < 0)
            w = [x / long if x > 0 else x / short if x < 0 else 0.0 for x in w]
            early = [int(steps[d, i]) < T - 1 for i in range(N)]
            paid = [abs(w[i]) * float(panel.costs[0 if early[i] else 1, i]) for i in range(N)]
            gross = sum(w[i] * float(panel.returns[d, steps[d, i], i]) for i in range(N))
            self.days.append(gross - sum(paid))
            self.costs.append(sum(paid))
            self.traded.append(sum(abs(w[i]) for i in range(N) if early[i]))
            moves = [sum(float(x) for x in panel.returns[d, t]) / N for t in range(T)]
            net = [sum(w[i] for i in range(N) if steps[d, i] > t) for t in range(T - 1)]
            self.market.append((moves[-1], sum(n * (b - a) for n, a, b in zip(net, moves, moves[1:])), net))

    @property
    def mean(self): return sum(self.days) / len(self.days)

    @property
    def sharpe(self):
        spread = sqrt(sum((x - self.mean)**2 for x in self.days) / (len(self.days) - 1))
        return self.mean / spread * sqrt(252)

    @property
    def drawdown(self):
        top = total = worst = 0.0
        for x in self.days:
            total += x
            top, worst = max(top, total), max(worst, max(top, total) - total)
        return worst


def interval(x, b, n_boot=10_000):
    "Low, high, and the standard error, of the mean of a daily series."
    rng, D, mean = np.random.default_rng(0), len(x), sum(x) / len(x)
    A = np.array([sum(x[(j + k) % D] for k in range(b)) / b - mean for j in range(D)])
    spread, K = sqrt((A**2).sum() / D), round(D / b)
    drawn = [A[rng.integers(0, D, K)] for _ in range(n_boot)]
    t = sorted(abs(a.mean()) / (max(a.std(ddof=1), spread / 10) / sqrt(K)) for a in drawn)
    error = sqrt(b / (D - b)) * spread
    reach = t[int(np.ceil(0.95 * (n_boot - 1)))] * error
    return max(mean - reach, min(x)), min(mean + reach, max(x)), error


def cells(table):
    "The rows of a table as a browser shows them."
    rows = re.findall("<tr.*?>(.*?)</tr>", table_html(table).replace("\n", " "))
    return [[html.unescape(re.sub("<.*?>", "", x)).strip() for x in re.findall("<t[dh].*?>(.*?)</t[dh]>", row)]
            for row in rows]


def test_the_tables_of_a_report(run):
    p, hold = run.result.panel, Plain(run.result.panel, Hold().exit_steps(run.result.panel))
    head, *rows = cells(score_table(run))
    traded = {row[0]: row[1:] for row in cells(trading_table(run))[1:]}
    assert [row[0] for row in rows] == ["hold", "rule", "other"]
    for name, *shown in rows[1:]:
        mine = Plain(p, run.result.exit_steps[name][0])
        gain = [a - b for a, b in zip(mine.days, hold.days)]
        mean = sum(gain) / len(gain)
        low, high, error = interval(gain, block_length(np.array(gain)))
        seen = max(mean - low, high - mean) + stats.norm.ppf(0.8) * error
        up = sum(x > 0 for x in mine.days) / len(mine.days)
        expected = [f"{1e4 * mine.mean:+,.1f}", f"{1e4 * mean:+,.1f}",
                    f"{1e4 * low:+,.1f}\xa0to\xa0{1e4 * high:+,.1f}",
                    f"{1e4 * seen:,.1f}", None, f"{mine.sharpe:.2f}", f"{100 * up:.1f}", f"{100 * min(mine.days):.1f}",
                    f"{100 * mine.drawdown:.1f}"]
        assert [s if want is not None else None for s, want in zip(shown, expected)] == expected, head
        beta = np.polyfit([m for m, _, _ in mine.market], gain, 1)[0]
        early = 100 * (run.result.exit_steps[name][0] < p.T - 1).mean()
        net = np.mean([[abs(n) for n in nets] for _, _, nets in mine.market])
        assert traded[name] == [f"{early:.0f}", f"{100 * np.mean(mine.traded):.1f}", f"{1e4 * np.mean(mine.costs):.1f}",
                                f"{100 * net:.1f}", f"{beta:+.2f}"]


def test_the_months_of_a_report(run):
    p = run.result.panel
    mine, hold = (Plain(p, s).days for s in (run.result.exit_steps["rule"][0], Hold().exit_steps(p)))
    months = {}
    for date, a, b in zip(p.dates, mine, hold): months.setdefault(str(date)[:7], []).append((a, b))
    table = monthly_table(run)
    assert table.index.tolist() == [*months, "all"]
    for month, days in [*months.items(), ("all", list(zip(mine, hold)))]:
        a, b = (100 * sum(x) for x in zip(*days))
        want = [len(days), b, a, a - b, 100 * sum(x > y for x, y in days) / len(days)]
        assert table.loc[month].tolist() == pytest.approx(want, abs=1e-4)


def test_the_headline_of_a_report(run):
    p = run.result.panel
    mine, hold = (Plain(p, s) for s in (run.result.exit_steps["rule"][0], Hold().exit_steps(p)))
    gain = np.subtract(mine.days, hold.days)
    low, high, error = interval(gain.tolist(), block_length(gain))
    said = html.unescape(re.sub("<.*?>", "", headline(run)))
    between = f"95% interval {1e4 * low:+,.1f} to {1e4 * high:+,.1f}"
    assert f"{1e4 * gain.mean():+,.1f} basis points per day ({between})" in said
    seen = 1e4 * (max(gain.mean() - low, high - gain.mean()) + stats.norm.ppf(0.8) * error)
    assert f"A true gain of {seen:,.1f} basis points or more would have been seen" in said.split("The ")[1]
    tried, D, ratio = 6, len(gain), gain.mean() / gain.std(ddof=1)
    top = (1 - np.euler_gamma) * stats.norm.ppf(1 - 1 / tried) + np.euler_gamma * stats.norm.ppf(1 - 1 / (tried * e))
    scale = sqrt(1 - stats.skew(gain) * ratio + (stats.kurtosis(gain, fisher=False) - 1) / 4 * ratio**2)
    sure = stats.norm.cdf((ratio - top / sqrt(D - 1)) * sqrt(D - 1) / scale)
    assert run.result.tried == tried and np.isclose(sure, deflated_sharpe(gain, tried), atol=1e-6)
    chance = "above 99%" if sure > 0.99 else "below 1%" if sure < 0.01 else f"{sure:.0%}"
    assert f"with a probability of {chance} (deflated Sharpe ratio)" in said
    part = sum(x for _, x, _ in mine.market) / D
    assert f"{1e4 * part:+,.1f} come from net exposure" in exposure_picture(run)
    np.testing.assert_allclose(market_part(run.exits, p).daily, [x for _, x, _ in mine.market], atol=1e-7)


def test_in_sample_is_what_a_fit_gains_on_its_own_days(run):
    p, gains = IntradayPanel.synthetic(D=60, T=4, N=10), []
    result = walk_forward(p, splitter=WalkForward(20, 20), policies={"rule": Threshold.fit}, name=None, jobs=1,
                          progress=False)
    for train, _ in WalkForward(20, 20).split(p):
        days = p[train]
        gains.append((Exits.of(days, Threshold.fit(days)).payoff() - Exits.of(days, Hold()).payoff()).mean())
    assert in_and_out(result).loc["rule", "in sample"] == pytest.approx(np.mean(gains))
    assert in_and_out(result).loc["rule", "out of sample"] == pytest.approx(result.compare(n_boot=100).gain["rule"])
    shown, own = score_table(run).set_index("policy")["gain in sample (bps)"], run.result.learned.policy == "rule"
    assert shown["rule"] == f"{1e4 * run.result.learned.gain[own].mean():+,.1f}" and shown["hold"] == ""


def test_a_cost_at_which_the_gain_is_gone_only_where_there_is_one(run):
    "Exits drawn by lot have a break-even by accident, and no evidence; the axis takes in what is charged."
    p = IntradayPanel.synthetic(D=60, T=5, N=20).with_costs(90, 2)
    lots = np.random.default_rng(1).integers(0, 5, (p.D, p.N))
    rule = LeastSquaresMC.fit(p.with_costs(0, 2)).exit_steps(p)
    ax = plot_costs({"lots": lots, "rule": rule}, p)
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    x, hold = break_even(rule, p), Hold().exit_steps(p)
    assert names == ["lots", f"rule, break-even {x:.3g} bps", "charged: 90 bps"] and ax.get_xlim()[1] > 90
    at_x = Exits.of(p.with_costs(x, 2), rule).payoff() - Exits.of(p.with_costs(x, 2), hold).payoff()
    assert at_x.mean() == pytest.approx(0, abs=1e-7)                     # with the cost at the close held
    free = run.panel.with_costs(0, np.tile(np.linspace(1, 2, 14), run.result.seeds))
    sure = compare({"it": run.exits.steps}, free).loc["it", "low"] > 0
    assert ("The gain is gone at" in cost_picture(run)) == sure


def test_labels_do_not_overlap_and_legends_are_off_the_lines():
    "Thirteen half-hours, and a day of 78 snapshots, drawn as in the report."
    from matplotlib.figure import Figure
    for T, times in ((13, HALF_HOURS), (78, None)):
        p = IntradayPanel.synthetic(D=40, T=T, N=12)
        p = IntradayPanel(p.signals, p.returns, p.weights, dates=p.dates, times=times).with_costs(2)
        every = {"hold": Hold(), "a long name of a policy": ExitAt(3), "threshold": Threshold.fit(p)}
        for draw in (lambda ax: plot_exit_times(ExitAt(3), p, ax), lambda ax: plot_exposure(ExitAt(3), p, ax),
                     lambda ax: plot_day(p, ExitAt(3), ax=ax), lambda ax: plot_payoff(every, p, ax=ax),
                     lambda ax: plot_costs(every, p, ax=ax)):
            figure = Figure((5.8, 3.1), dpi=100, layout="constrained")
            draw(ax := figure.subplots())
            figure.draw_without_rendering()
            boxes = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()]
            assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:])), [t.get_text() for t in ax.get_xticklabels()]
            title, whole = ax.title.get_window_extent(), figure.bbox
            assert whole.x0 <= title.x0 and title.x1 <= whole.x1 and title.y1 <= whole.y1
            if legend := ax.get_legend():
                box = legend.get_window_extent()
                points = [ax.transData.transform((ax.convert_xunits(x), y)) for line in ax.lines
                          if len(line.get_xdata()) > 2 for x, y in zip(line.get_xdata(), line.get_ydata())]
                assert not any(box.contains(*xy) for xy in points) and not box.overlaps(title)
            dates = [t.get_text() for t in ax.get_xticklabels() if t.get_text().startswith("2020")]
            assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", d) for d in dates)


def test_the_power_that_it_names():
    assert detectable(250, 40) == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * 40 / 250**0.5)
    rng = np.random.default_rng(0)
    seen = [block_bootstrap(rng.normal(detectable(120, 1), 1, 120), 300)[0] > 0 for _ in range(150)]
    assert 0.68 < np.mean(seen) < 0.88


def test_the_paper_of_the_deflated_sharpe_ratio():
    "Bailey and Lopez de Prado (2014), the example: 0.9004 after 100 tries, 0.9505 after 46."
    for tried, want in ((100, 0.9004), (46, 0.9505)):
        above = best_of(tried, (0.5 / 250)**0.5)
        assert sharpe_probability(2.5 / 250**0.5, 1250, above, -3, 10) == pytest.approx(want, abs=5e-5)


@pytest.mark.filterwarnings("ignore:the book lacks a side")
@pytest.mark.parametrize("freq, want", [("B", 252), ("D", 365), ("W-FRI", 52), ("2B", 126), ("MS", 12)])
def test_days_of_a_year_are_those_of_the_calendar(freq, want):
    dates = pd.date_range("2023-01-06", periods=80, freq=freq).to_numpy("datetime64[D]")
    assert days_in_year(dates) == pytest.approx(want, rel=0.05)
    p = IntradayPanel.synthetic(D=80, T=3, N=6)
    p = IntradayPanel(p.signals, p.returns, p.weights, dates=dates)
    own, given = (compare({"hold": Hold()}, p, n_boot=100, **k).loc["hold", "sharpe"] for k in ({}, {"days_a_year": 1}))
    assert own / given == pytest.approx(want**0.5, rel=0.03)


def test_trades_of_every_policy_add_up(run):
    p = run.result.panel
    policies = {"hold": Hold(), "rule": run.result.exit_steps["rule"][0]}
    sums = trades(policies, p).groupby(["policy", "date"]).payoff.sum()
    for name, policy in policies.items():
        assert sums[name].to_numpy() == pytest.approx(Exits.of(p, policy).payoff(), abs=1e-7)
    assert run.result.trades().groupby("policy").size().to_dict() == {"rule": p.D * p.N, "other": p.D * p.N}


def test_json_trades_and_silence(tmp_path):
    config, days = PPOConfig(epochs=2, rollouts_per_epoch=2, hidden=8), IntradayPanel.synthetic(D=30, T=4, N=8)
    agent = FactorizedPPOEOD.from_panel(*days.split(20), config)
    agent.train(progress=False)
    agent.save(tmp_path / "agent.pt")
    days.with_costs(3).save(tmp_path / "days")
    def call(*words):
        paths = str(tmp_path / "agent.pt"), str(tmp_path / "days")
        done = CliRunner().invoke(app, [*words, *paths, "--last-days", "10"])
        assert done.exit_code == 0, done.output
        return done.stdout
    read = json.loads(call("evaluate", "--json"))
    table = compare({"learned policy": agent.policy}, days.with_costs(3)[20:])
    assert read["policies"]["learned policy"] == pytest.approx(table.iloc[0].to_dict())
    assert read["costs_bps"] == {"early": 3, "close": 0}
    assert call("evaluate", "--quiet", "--trades", str(tmp_path / "t.csv")) == ""
    written = pd.read_csv(tmp_path / "t.csv").groupby("date").payoff.sum()
    assert written.to_numpy() == pytest.approx(Exits.of(days.with_costs(3)[20:], agent.policy).payoff(), abs=1e-7)
    words = ["train", tmp_path / "days", "--out", tmp_path / "run", "--epochs", 1, "-q"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0 and done.stdout == "" and (tmp_path / "run" / "agent.pt").exists()


def test_a_callback_stops_and_nothing_is_printed(capsys, tmp_path):
    config = PPOConfig(epochs=6, rollouts_per_epoch=2, hidden=8, eval_every=1)
    p = IntradayPanel.synthetic(D=12, T=4, N=8)
    def trained(**how):
        agent = FactorizedPPOEOD.from_panel(*p.split(8), config)
        agent.train(progress=False, **how)
        return agent
    stopped = trained(callback=lambda agent: len(agent.history) < 3, checkpoint=tmp_path / "agent.pt")
    assert len(stopped.history) == 3 and capsys.readouterr().out == ""
    kept = FactorizedPPOEOD.load(tmp_path / "agent.pt", *p.split(8))
    kept.train(progress=False, resume=True)
    whole = trained(callback=lambda agent: None)
    assert kept.history.payoff.tolist() == whole.history.payoff.tolist() and len(whole.history) == 6


def test_a_callback_that_stops_leaves_the_best_network_where_that_is_kept():
    config = PPOConfig(epochs=9, rollouts_per_epoch=2, hidden=8, keep="best", eval_every=2)
    agent = FactorizedPPOEOD.from_panel(IntradayPanel.synthetic(D=16, T=4, N=8), config=config)
    agent.train(progress=False, callback=lambda agent: len(agent.history) < 5)
    held_out = agent.history.held_out
    assert len(held_out) == 5 and held_out.notna().tolist() == [False, True, False, True, True]
    days = IntradayPanel.synthetic(D=16, T=4, N=8)[12:]
    assert Exits.of(days, agent.policy).payoff().mean() >= held_out.max() - 1e-6
