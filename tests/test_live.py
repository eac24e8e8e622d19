"""The live day across processes and on real bars: a restart at noon, kills while the file is written, a full disk."""
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from lively import lively

from eod_exit_ppo import (ExitAt, FactorizedPPOEOD, Hold, IntradayPanel, LeastSquaresMC, PPOConfig, Threshold,
                          check_no_lookahead)
from eod_exit_ppo.live import LiveDay, replay

COMMON = """
import sys, time
import numpy as np
from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel
from eod_exit_ppo.live import LiveDay
folder = sys.argv[1]
policy = FactorizedPPOEOD.load(f"{folder}/agent.pt").policy
f = np.load(f"{folder}/day.npz")
def show(day, which):
    for t in which:
        prices = {k: x for k, x in zip(f["tickers"].tolist(), f["prices"][t].tolist()) if x == x}
        print(*day.decide(f["times"][t], prices).index, flush=True)
"""
MORNING = COMMON + """
show(LiveDay(policy, f["tickers"], f["signals"], f["weights"], times=f["times"], prior_close=f["closes"],
             date="2020-02-03", path=f"{folder}/book.day"), range(4))
time.sleep(600)  # until somebody pulls the plug
"""
AFTERNOON = COMMON + """
day = LiveDay.load(f"{folder}/book.day", policy, date="2020-02-03")
show(day, range(3, 8))  # the last answer of the morning once more, in case it was lost
np.save(f"{folder}/steps.npy", day.exit_steps)
"""
WRITERS = COMMON + """
import json, os, signal
from pathlib import Path
day = LiveDay(policy, f["tickers"], f["signals"], f["weights"], times=f["times"], prior_close=f["closes"])
show(day, range(4))
file, rng, found = Path(folder) / "often.day", np.random.default_rng(0), []
day.save(file)
for k in range(int(sys.argv[2])):
    pid = os.fork()
    while pid == 0: day.save(file)  # and again, until it is killed
    time.sleep(rng.uniform(0.001, 0.03))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    found.append(LiveDay.load(file, policy).exit_steps.tolist() == day.exit_steps.tolist())
    parts = list(Path(folder).glob(".often.day.*.part"))
    for p in parts: p.unlink()
    found[-1] = [found[-1], len(parts)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    "A folder with an agent and a day of prices, and that day as a panel."
    folder, rng = tmp_path_factory.mktemp("desk"), np.random.default_rng(0)
    made = IntradayPanel.synthetic(D=21, N=50)
    agent = FactorizedPPOEOD.from_panel(made[:20], config=PPOConfig(epochs=40, eval_every=100))
    agent.train(progress=False)
    agent.save(folder / "agent.pt")
    closes = rng.uniform(20, 200, 50).round(2)
    prices = (closes * (1.0 + made.returns[20])).round(2)
    prices[rng.random(prices.shape) < 0.05] = np.nan
    day = IntradayPanel(made.signals[20:], (prices / closes - 1).astype(np.float32)[None], made.weights[20:])
    np.savez(folder / "day.npz", prices=prices, closes=closes, signals=day.signals[0], weights=day.weights[0],
             tickers=day.tickers, times=day.times)
    return folder, agent.policy, day


def script(text, *args):
    return subprocess.Popen([sys.executable, "-c", text, *map(str, args)], stdout=subprocess.PIPE, text=True)


def test_restart_at_noon(book):
    folder, policy, panel = book
    steps = policy.exit_steps(panel)
    assert len(np.unique(steps)) > 3  # something leaves in the morning and in the afternoon
    with script(MORNING, folder) as morning:
        said = [morning.stdout.readline().split() for _ in range(4)]
        morning.send_signal(signal.SIGKILL)
    with script(AFTERNOON, folder) as afternoon: later = [x.split() for x in afternoon.communicate()[0].splitlines()]
    assert afternoon.returncode == 0 and later[0] == said[3]
    np.testing.assert_array_equal(np.load(folder / "steps.npy"), steps[0])
    for t, names in enumerate(said + later[1:]):
        assert names == panel.tickers[steps[0] == t].tolist()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_writing(book):
    with script(WRITERS, book[0], 20) as writers: out = writers.communicate()[0]
    assert writers.returncode == 0
    found = json.loads(out.splitlines()[-1])
    assert len(found) == 20 and all(same for same, _ in found)  # whenever it was killed, the file was whole
    assert any(parts for _, parts in found)                     # and some were killed in the middle of it


def test_every_day_agrees():
    "The same decisions as a backtest, on more days, with holes and halts; the notebook has the rest."
    made, rng = IntradayPanel.synthetic(D=60, T=13, N=40, missing=0.1), np.random.default_rng(1)
    panel = IntradayPanel(made.signals, made.returns, np.where(rng.random((60, 40)) < 0.1, 0, made.weights),
                          tradable=~np.isnan(made.returns) & (rng.random(made.shape) > 0.05)).with_costs(5, 1)
    agent = FactorizedPPOEOD.from_panel(panel[:30], config=PPOConfig(epochs=5, eval_every=100))
    agent.train(progress=False)
    for policy in (lively(agent.policy, panel[:30], 0.1), LeastSquaresMC.fit(panel[:30])):
        steps = policy.exit_steps(panel)
        np.testing.assert_array_equal(replay(policy, panel), steps)
        assert 0.02 < (steps < 12).mean() < 0.98


@pytest.mark.parametrize("wrong, match", [
    ({"T1": True, "XYZ": False}, "halted has 1 tickers that this day's book has not, the first 'XYZ'"),
    ({"T1": np.nan, "T2": True}, "halted is nan for T1: give true or false"),
    ({"T1": 1}, "halted is 1 for T1"),
    (pd.Series([True, None], ["T1", "T2"]), "halted is None for T2"),
    (pd.Series([True, pd.NA], ["T1", "T2"], "boolean"), "halted is <NA> for T2"),
    (pd.Series([True, True], ["T1", "T1"]), "halted has 'T1' twice"),
    (pd.DataFrame({"halted": [True]}, ["T1"]), r"halted has shape \(1, 1\)"),
    (np.ma.array([True] * 8, mask=[True] + [False] * 7), "halted is None for T0"),
    (np.ones(3, bool), r"halted has shape \(3,\): give \(8,\) booleans, or tickers"),
])
def test_halted_that_makes_no_sense(wrong, match):
    day = LiveDay(Hold(), [f"T{k}" for k in range(8)], np.ones(8), [1, -1] * 4, times=["a", "b"])
    with pytest.raises(ValueError, match=match): day.decide("a", returns=np.zeros(8), halted=wrong)
    assert day.last is None


TRUTH = [False, True, False, True]
ALL = dict(zip([1300, 1307, 1314, 1321], TRUTH))


@pytest.mark.parametrize("halted", [
    ALL, {str(k): x for k, x in ALL.items()}, {1307: True, "1321": True}, pd.Series(ALL), pd.Series(ALL)[::-1],
    pd.Series(ALL).astype("boolean"), pd.Series(ALL, dtype=object), pd.Series(ALL).rename(str), TRUTH, np.array(TRUTH),
    np.array(TRUTH, object), [1307, 1321], ["1307", "1321"], {1321, 1307}, pd.Index([1307, 1321]),
    pd.Series([1307, 1321])], ids=str)
def test_halted_in_every_form(halted):
    "A mapping to False halts nothing, whole numbers are tickers, and all forms say the same."
    day = LiveDay(ExitAt(0), [1300, 1307, 1314, 1321], np.ones(4), [1, -1, 1, -1], times=["a", "b"])
    day.decide("a", returns=np.zeros(4), halted=halted)
    assert day.status().state.tolist() == ["left", "halted", "left", "halted"]
    nothing = LiveDay(ExitAt(0), day.tickers, np.ones(4), [1, -1, 1, -1], times=["a", "b"])
    nothing.decide("a", returns=np.zeros(4), halted=dict.fromkeys(day.tickers, False))
    assert nothing.exit_steps.tolist() == [0, 0, 0, 0]


def test_a_universe_wider_than_the_book(tmp_path):
    "Features look at it: live days agree with the backtest, and a file remembers it; without, it is the book."
    made = IntradayPanel.synthetic(D=24, T=5, N=40)
    weights = np.where(np.arange(40) < 25, made.weights, 0)
    narrow = IntradayPanel(made.signals, made.returns, weights)
    wide = IntradayPanel(made.signals, made.returns, weights, universe=np.arange(40)[None].repeat(24, 0) < 35)
    agent = FactorizedPPOEOD.from_panel(wide[:20], config=PPOConfig(epochs=2, hidden=8))
    agent.train(progress=False)
    policy = lively(agent.policy, wide[:20], 0.2)
    steps = policy.exit_steps(wide)
    np.testing.assert_array_equal(replay(policy, wide[20:]), steps[20:])
    assert (steps != policy.exit_steps(narrow)).any()
    days = [LiveDay(policy, wide.tickers, wide.signals[20], weights[20], times=wide.times, universe=u,
                    path=tmp_path / str(k)) for k, u in enumerate((wide.universe[20], wide.tickers[:35], None))]
    for day in days: day.decide("t0", returns=wide.returns[20, 0])
    given, named, without = (LiveDay.load(tmp_path / str(k), policy) for k in range(3))
    assert (given.panel.universe == wide.universe[20]).all() and (named.panel.universe == given.panel.universe).all()
    assert without.panel.universe is None and given.status().equals(named.status())
    assert not given.status().equals(without.status())


def test_full_disk(book, tmp_path):
    "A limit on the size of files stands in for a full disk."
    resource = pytest.importorskip("resource")
    _, policy, panel = book
    day = LiveDay(policy, panel.tickers, panel.signals[0], panel.weights[0], times=panel.times,
                  path=tmp_path / "book.day")
    day.decide("t0", returns=panel.returns[0, 0])
    before, (soft, hard) = (tmp_path / "book.day").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
        with pytest.raises(OSError, match="book.day could not be written"):
            day.decide("t1", returns=panel.returns[0, 1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert (tmp_path / "book.day").read_bytes() == before and len(list(tmp_path.iterdir())) == 1 and day.last == "t0"
    for t in range(1, 8): day.decide(panel.times[t], returns=panel.returns[0, t])
    np.testing.assert_array_equal(LiveDay.load(tmp_path / "book.day", policy).exit_steps, policy.exit_steps(panel)[0])


class Table:
    "A policy that answers with a table, its stocks in another order than the panel's."
    def exit_steps(self, panel):
        steps = pd.DataFrame(Threshold(0.005).exit_steps(panel), panel.dates, panel.tickers)
        return steps[steps.columns[::-1]]


class Likely:
    "The same for chances: a Series by ticker, backwards."
    def __init__(self, cut=0): self.cut = cut
    def exit_probability(self, panel, held, t):
        on = np.sign(panel.weights[0]) * panel.returns[0, t] > 0.005
        return pd.Series(np.where(on & (t < panel.T - 1), 0.9, 0.1), panel.tickers)[::-1][self.cut:]


def test_labels_of_a_policy_count():
    panel = IntradayPanel.synthetic(D=3, T=6, N=8)
    steps = Threshold(0.005).exit_steps(panel)
    np.testing.assert_array_equal(replay(Table(), panel), steps)
    np.testing.assert_array_equal(replay(Likely(), panel), steps)
    check_no_lookahead(Table(), panel)
    with pytest.raises(ValueError, match="nan for S007: nothing was decided, give 8 numbers from 0 to 1"):
        replay(Likely(cut=1), panel)


def test_times_with_blanks():
    panel = IntradayPanel.synthetic(D=1, T=3, N=8)
    spaced = IntradayPanel(panel.signals, panel.returns, panel.weights, times=[" 9:00", "10:00 ", "16:00"])
    assert spaced.times.tolist() == ["9:00", "10:00", "16:00"]
    np.testing.assert_array_equal(replay(Threshold(0.005), spaced), Threshold(0.005).exit_steps(spaced))
    day = LiveDay(Hold(), panel.tickers, panel.signals[0], panel.weights[0], times=[" 9:00", "16:00"])
    assert not len(day.decide("9:00", returns=panel.returns[0, 0]))
    with pytest.raises(ValueError, match="times must be unique, 9:00 is"):
        LiveDay(Hold(), panel.tickers, panel.signals[0], panel.weights[0], times=["9:00", "9:00 ", "16:00"])


def test_a_panel_knows_the_columns_of_a_table():
    panel = IntradayPanel.synthetic(D=2, T=3, N=4)
    table = pd.DataFrame(panel.signals, columns=panel.tickers)
    own = IntradayPanel(table, panel.returns, panel.weights, tickers=panel.tickers)
    np.testing.assert_array_equal(own.signals, panel.signals)
    with pytest.raises(ValueError, match="signals is a table with the ticker S003 where the panel has S000"):
        IntradayPanel(table[table.columns[::-1]], panel.returns, panel.weights, tickers=panel.tickers)
    dated = table.set_axis(pd.to_datetime(panel.dates))
    with pytest.raises(ValueError, match="signals is a table with the date 2020-01-02 where the panel has 2020-01-01"):
        IntradayPanel(dated[::-1], panel.returns, panel.weights, dates=panel.dates)
    plain = pd.DataFrame(panel.signals)  # without labels of its own
    assert IntradayPanel(plain, panel.returns, panel.weights, dates=panel.dates, tickers=panel.tickers).N == 4
