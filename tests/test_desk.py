"""What is typed and fed at a desk: nothing irreversible by a typo, nothing lost by a kill, the day as trained for."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from eod_exit_ppo import (ExitAt, Exits, FactorizedPPOEOD, IntradayPanel, LearnedPolicy, LiveDay, PPOConfig,
                          Threshold, compare, daily_closes, from_bars, payoff, replay, reversal, synthetic_bars)
from eod_exit_ppo.cli import app
from eod_exit_ppo.limits import Limits
from lively import lively
from sizes import size

TIMES, N = ["10:00", "11:00", "12:00", "14:00", "16:00"], 24
TICKERS = [f"T{k:02d}" for k in range(N)]
MADE = replace(IntradayPanel.synthetic(30, len(TIMES), N), times=TIMES, tickers=TICKERS)
CLOSES = pd.Series(np.linspace(20, 200, N), TICKERS)
LONG, SHORT = (TICKERS[int((np.sign(MADE.weights[0]) == s).argmax())] for s in (1, -1))
LIGHT = [TICKERS[k] for k in np.abs(MADE.weights[0]).argsort()]
FEED = [CLOSES * (1 + MADE.returns[0, t].astype(float)) for t in range(len(TIMES))]


class TakeProfit:
    "Exit once a position is half a percent ahead."
    def exit_steps(self, panel):
        wish = (panel.marks() * np.sign(panel.weights)[:, None] > 0.005) & panel.tradable
        wish[:, -1] = True
        return wish.argmax(1)


def new_day(policy=None, until=0, **options):
    "The first day, decided up to a snapshot."
    how = dict(times=TIMES, prior_close=CLOSES, date=MADE.dates[0]) | options
    day = LiveDay(policy or TakeProfit(), TICKERS, MADE.signals[0], MADE.weights[0], **how)
    for t in range(until): day.decide(TIMES[t], FEED[t])
    return day


def scaled(tickers, by): return FEED[0].where(~FEED[0].index.isin(tickers), FEED[0] * by)


@pytest.mark.parametrize("feed, flagged, words", [
    ({}, [], "prices at 10:00 are for 0% of the held weight, less than min_quoted=0.5"),
    (FEED[0][LIGHT[:10]], [], "% of the held weight"),
    (scaled([LONG], 10), [LONG], f"implausible.*{LONG}"),
    (scaled([SHORT], 0.5), [SHORT], f"implausible.*{SHORT}"),
    (scaled(TICKERS, 100), TICKERS, "quotes of 24 stocks at 10:00 are implausible"),
], ids=["empty", "half", "times ten", "split", "pence"])
def test_a_feed_that_cannot_be_true(feed, flagged, words):
    "It is pointed out, nothing is exited by it, the others are, and the right one is taken after it."
    day, right = new_day(), new_day(until=1)
    with pytest.warns(UserWarning, match=words): day.decide("10:00", feed)
    assert (day.status().state[flagged] == "implausible").all()
    others = [k for k in dict(feed) if k not in flagged]
    assert (day.status().state[others] == right.status().state[others]).all()
    day.decide("10:00", FEED[0])
    pd.testing.assert_frame_equal(day.status(), right.status())
    assert not right.status().state.eq("held").all()                                # something is exited


def test_a_feed_that_stands_still():
    day = new_day(until=1)
    with pytest.warns(UserWarning, match="all as at the snapshot before"): day.decide("11:00", FEED[0])
    assert (day.exit_steps != 1).all() and (day.status().state == "left").sum() == (day.exit_steps == 0).sum()
    day.decide("11:00", FEED[1])
    pd.testing.assert_frame_equal(day.status(), new_day(until=2).status())


def test_a_real_move():
    jump = scaled([LONG], 1.5)
    day = new_day()
    day.decide("10:00", jump, real=[LONG])
    assert day.status().left[LONG] == "10:00" and day.status()["return"][LONG] > 0.4
    calm = new_day(max_move=None)
    calm.decide("10:00", jump)
    pd.testing.assert_frame_equal(calm.status(), day.status())


def test_a_correction_stops_at_what_was_sent():
    "Other numbers are taken for what was not exited at the snapshot, and refused for what was."
    day = new_day(until=1)
    sent = day.status().index[day.exit_steps == 0]
    rest = day.status().index[day.exit_steps != 0]
    with pytest.raises(ValueError, match=f"other numbers, the first returns of {sent[0]}.*undo"):
        day.decide("10:00", FEED[0] * 1.001)
    moved = FEED[0].where(FEED[0].index.isin(sent), CLOSES * (1 + 0.01 * np.sign(MADE.weights[0])))
    orders = day.decide("10:00", moved)
    assert set(orders.index) == {*sent, *rest}  # what was sent is still in the answer
    day.decide("11:00", FEED[1])
    with pytest.raises(ValueError, match="10:00 has been decided with other numbers"): day.decide("10:00", FEED[0])


def test_times_that_are_typed_wrong():
    day = new_day()
    for time_, words in (("16:00", "16:00 skips 10:00, .* skip=True"), ("10:30", "snapshots are 10:00, 11:00")):
        with pytest.raises(ValueError, match=words): day.decide(time_, FEED[0])
        assert day.last is None
    day.decide("10:00", FEED[0])
    with pytest.warns(UserWarning, match="skipped"): day.decide("16:00", FEED[4], skip=True)
    assert day.last == "16:00" and day.skipped == TIMES[1:4]


@pytest.mark.parametrize("how, words", [
    (dict(times=["16:00", *TIMES[:-1]]), "times are out of order, 10:00 comes after 16:00"),
    (dict(session=("11:00", "16:00")), "times begin at 10:00, and the session is from 11:00"),
    (dict(session="XNYS", date="2024-03-30"), "XNYS has no session on 2024-03-30"),
    (dict(tz="Wall Street"), "tz is 'Wall Street', which is no time zone: give one like"),
    (dict(min_quoted=50), "min_quoted is 50: give a share"), (dict(max_move=0), "max_move is 0"),
], ids=lambda x: "" if isinstance(x, str) else next(iter(x)))
def test_a_day_that_cannot_be(how, words):
    with pytest.raises(ValueError, match=words): new_day(**how)


@pytest.mark.parametrize("zone, hour", [("Europe/London", "15:00"), ("UTC", "14:00"), ("America/New_York", "10:00")])
def test_times_with_a_zone(zone, hour):
    day = new_day(tz="America/New_York", session="XNYS", date="2024-05-31")
    day.decide(pd.Timestamp(f"2024-05-31 {hour}", tz=zone), FEED[0])
    assert day.last == "10:00"
    with pytest.raises(ValueError, match="and the day is 2024-05-31"):
        day.decide(pd.Timestamp(f"2024-06-03 {hour}", tz=zone), FEED[0])


def test_half_days_equal_the_backtest():
    bars = synthetic_bars(days=60, tickers=24, every="30min", start="2023-09-20", seed=1)
    days, _ = from_bars(bars, reversal(daily_closes(bars)), snapshots=["10:00", "12:00", "13:00", "14:00"],
                        half_days="keep")
    one = days[int((~days.tradable[:, 3].any(1)).argmax())]
    for session in (("09:30", "13:00"), "XNYS"):
        with pytest.warns(UserWarning, match="nothing can be exited at 14:00"):
            day = LiveDay(rule := Threshold.fit(days[:30]), one.tickers, one.signals[0], one.weights[0],
                          times=one.times, date=one.dates[0], session=session)
        for t in (0, 1, 2, 4): day.decide(one.times[t], returns=one.returns[0, t])
        np.testing.assert_array_equal(day.exit_steps, rule.exit_steps(one)[0])
        np.testing.assert_array_equal(day.panel.returns, one.returns)
        assert payoff(day.panel, day.exit_steps[None]) == payoff(one, rule.exit_steps(one))


def test_dry_runs_undo_and_fills(tmp_path):
    day, file = new_day(until=1, path=tmp_path / "day"), tmp_path / "day"
    kept, state = file.read_bytes(), day.status()
    tried = day.decide("11:00", FEED[1], dry=True)
    assert file.read_bytes() == kept and day.status().equals(state)
    pd.testing.assert_frame_equal(day.decide("11:00", FEED[1]), tried)
    day.undo()
    assert day.status().equals(state)
    done, part, none = state.index[state.left == "10:00"][:3]
    by_hand = state.index[state.state == "held"][0]
    for ticker, share in ((done, 1), (part, 0.25), (none, 0), (by_hand, 1)): day.fill(ticker, share, FEED[0][ticker])
    with pytest.raises(ValueError, match="the orders of 10:00 are confirmed"): day.undo()
    assert np.allclose(*day.payoff())  # all at their marks so far
    left = day.status().state
    assert left[[part, none]].tolist() == ["held", "held"] and left[by_hand] == "left"
    assert day.decide("11:00", FEED[1]).weight[part] == pytest.approx(0.75 * day.status().weight[part])
    with pytest.raises(ValueError, match="0 to 0.75"): day.fill(part, 0.9)
    day.fill(part, 0.75, FEED[1][part] * 1.01)
    assert day.payoff()["by fills"] != day.payoff()["by marks"]
    again = LiveDay.load(file, TakeProfit())
    pd.testing.assert_frame_equal(again.trades(), day.trades())
    calls = [json.loads(x)["call"] for x in file.read_text().splitlines()]
    assert calls == ["begin", "decide", "decide", "undo", *["fill"] * 4, "decide", "fill"]


def test_a_path_is_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    day = new_day(path="today.live")
    monkeypatch.chdir(tmp_path)
    day.decide("10:00", FEED[0])
    assert day.path == tmp_path / "a" / "today.live" and LiveDay.load(day.path, TakeProfit()).last == "10:00"


DESK = """
import sys, warnings
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_desk import FEED, TIMES, TakeProfit, LiveDay, new_day
warnings.simplefilter("ignore")
file = Path(sys.argv[1])
day = LiveDay.load(file, TakeProfit()) if file.exists() else new_day(path=file)
print("ready", flush=True)
k = 0
while True:
    for t, time in enumerate(TIMES):
        day.decide(time, FEED[t] * (1 + 1e-6 * k))
        print(len(day._events), flush=True)
    for time in TIMES: day.undo()
    k += 1
    print(len(day._events), flush=True)
"""


def test_killed_again_and_again(tmp_path):
    "A desk that decides and takes back without end is killed at any moment; whatever it answered is in the journal."
    rng, lines, file = np.random.default_rng(0), 0, tmp_path / "day"
    for _ in range(size(2, 6)):
        with subprocess.Popen([sys.executable, "-c", DESK, file, os.path.dirname(__file__)], stdout=subprocess.PIPE,
                              text=True) as desk:
            assert desk.stdout.readline() == "ready\n"
            said = [desk.stdout.readline() for _ in range(8)]
            time.sleep(rng.uniform(0.02, 0.2))
            desk.send_signal(signal.SIGKILL)
            said += [line for line in desk.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            day = LiveDay.load(file, TakeProfit())
        answered = int(said[-1])
        assert answered <= len(day._events) and lines <= len(day._events)
        lines = len(day._events)
        day.path = None
        while day.last is not None: day.undo()
        day.path = file.with_name("kept")                                           # and it is whole
        file.unlink()
        day.path.rename(file)
        lines = len(day._events)
    assert lines > 20


# ---- what a policy was trained for ----
@pytest.fixture(scope="module")
def trained():
    agent = FactorizedPPOEOD.from_panel(MADE[:20].with_costs(15, 5), config=PPOConfig(epochs=2, hidden=8))
    agent.train(progress=False)
    return agent


def told(call):
    "The warnings of a call, and what it returns."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = call()
    return [str(w.message) for w in caught], value


@pytest.mark.parametrize("how, words", [
    (dict(times=["10:00", "12:00", "16:00"], date="2030-01-02"), "trained on days of 5 snapshots, and these have 3"),
    (dict(times=["9:45", *TIMES[1:]], date="2030-01-02"), "the first 9:45 in place of 10:00"),
    (dict(), "1 of 1 days were trained on"),
    (dict(date="2030-01-02"), "no costs were given: those that the policy was trained with are used"),
], ids=["snapshots", "times", "days", "costs"])
def test_where_a_day_differs(trained, how, words, tmp_path):
    trained.save(tmp_path / "agent.pt")
    for policy in (trained.policy, LearnedPolicy.load(tmp_path / "agent.pt")):
        said, day = told(lambda policy=policy: new_day(policy, **how))
        assert any(words in x for x in said), said
        np.testing.assert_allclose(day.panel.costs[:, 0], [15e-4, 5e-4], rtol=1e-6)


def test_a_checkpoint_without_a_context():
    "Files of before know nothing of it, and nothing is said."
    again = FactorizedPPOEOD.load(Path(__file__).with_name("format1.pt"))
    assert again.context is None and again.policy.context is None
    said, day = told(lambda: new_day(ExitAt(1), date="2030-01-02"))
    assert said == [] and day.panel.costs is None


def test_doubles_by_default():
    "torch.set_default_dtype changes nothing."
    def learned():
        agent = FactorizedPPOEOD.from_panel(MADE[:10], config=PPOConfig(epochs=2, hidden=8))
        agent.train(progress=False)
        return agent.policy.exit_steps(MADE)
    want = learned()
    torch.set_default_dtype(torch.float64)
    try: np.testing.assert_array_equal(learned(), want)
    finally: torch.set_default_dtype(torch.float32)


def test_the_commands_of_a_desk(trained, tmp_path):
    trained.save(tmp_path / "agent.pt")
    pd.DataFrame(dict(ticker=TICKERS, signal=MADE.signals[0], weight=MADE.weights[0], prior_close=CLOSES.to_numpy())
                 ).to_csv(tmp_path / "book.csv", index=False)
    for k, feed in enumerate([*FEED[:2], scaled([LONG], 10), FEED[0][:0]]):
        feed.rename("price").rename_axis("ticker").to_csv(tmp_path / f"{k}.csv")
    state = ["--state", tmp_path / "day"]

    def call(command, *args, status=0):
        out = CliRunner().invoke(app, [str(x) for x in (command, tmp_path / "agent.pt", *state, *args)])
        assert out.exit_code == status, out.output
        return out.output

    def decide(at, k, *args, **how):
        return call("decide", "--time", at, "--prices", tmp_path / f"{k}.csv", *args, **how)

    first = ["--book", tmp_path / "book.csv", "--date", "2030-01-02", "--session", "XNYS"]
    assert "3.csv has no rows" in decide("10:00", 3, *first, status=2)
    assert "skips 10:00" in decide("16:00", 0, *first, status=2)
    (tmp_path / "day").unlink()
    assert "Note: quotes of 1 stocks at 10:00 are implausible" in decide("10:00", 2, *first, "--dry-run")
    assert not (tmp_path / "day").exists()
    assert "1 of 5 snapshots" in decide("10:00", 0, *first)
    assert "0 of 5 snapshots" in call("undo") and "nothing to undo" in call("undo", status=2)
    decide("10:00", 0)
    call("fill", "--ticker", LONG, "--share", 0.5, "--price", FEED[0][LONG])
    assert "are confirmed" in call("undo", status=2)
    kept = (tmp_path / "day").read_bytes()
    assert "1 of 5 snapshots, last 10:00" in decide("12:00", 1, "--skip", "--dry-run")
    assert (tmp_path / "day").read_bytes() == kept
    assert "2 of 5 snapshots, last 12:00" in decide("12:00", 1, "--skip")
    assert LiveDay.load(tmp_path / "day", trained.policy).trades().filled[LONG] == 0.5


def test_the_command_takes_times_with_a_zone(trained, tmp_path):
    trained.save(tmp_path / "agent.pt")
    pd.DataFrame(dict(ticker=TICKERS, signal=MADE.signals[0], weight=MADE.weights[0], prior_close=CLOSES.to_numpy())
                 ).to_csv(tmp_path / "book.csv", index=False)
    FEED[0].rename("price").rename_axis("ticker").to_csv(tmp_path / "feed.csv")

    def decide(at, *args, status=0):
        out = CliRunner().invoke(app, [str(x) for x in (
            "decide", tmp_path / "agent.pt", "--state", tmp_path / "day", "--time", at, "--prices",
            tmp_path / "feed.csv", *args)])
        assert out.exit_code == status, out.output
        return out.output

    first = ["--book", tmp_path / "book.csv", "--date", "2024-05-31", "--session", "XNYS"]
    zone = ["--tz", "America/New_York"]
    assert "tz is 'Wall Street', which is no time zone" in decide("10:00", *first, "--tz", "Wall Street", status=2)
    assert "the day has none: give a time with a zone" in decide("2024-05-31T14:00Z", *first, status=2)
    (tmp_path / "day").unlink()
    assert "times begin at 10:00, and the session is from 14:30" in decide("10:00", *first, "--tz", "Europe/London",
                                                                           status=2)
    for at in ("10:00", "2024-05-31T10:00-04:00", "2024-05-31 15:00+01:00", "2024-05-31T14:00:00Z"):
        assert "1 of 5 snapshots, last 10:00" in decide(at, *first, *zone)
    assert "it has no zone" in decide("2024-05-31 10:00", status=2)
    assert "and the day is 2024-05-31" in decide("2024-06-03T14:00Z", status=2)
    assert "snapshots are 10:00, 11:00" in decide("2024-05-31T10:00Z", status=2)
    for other, words in ((["--tz", "UTC"], "--tz is UTC, and the day in .* has America/New_York: leave it out"),
                         (["--session", "09:30,16:00"], "--session is 09:30,16:00, and the day in .* has XNYS"),
                         (["--times", "10:00,16:00"], "--times is 10:00,16:00, and the day in .* has 10:00,11:00,")):
        assert re.search(words, decide("10:00", *other, status=2))


def test_live_under_limits_and_by_chance(tmp_path):
    "Exits within limits, and drawn with a seed, are those of a backtest; the journal has both, and goes on under them."
    panel = IntradayPanel(MADE.signals, MADE.returns, MADE.weights, tradable=MADE.tradable, dates=MADE.dates,
                          times=TIMES, tickers=TICKERS)
    agent = FactorizedPPOEOD.from_panel(panel[:20], config=PPOConfig(epochs=3, eval_every=100))
    agent.train(progress=False)
    loose, tight = lively(agent.policy, panel[:20], 0.1), Limits(max_net=0.1, max_share=0.2)
    bound, days = loose.limited(tight), panel[20:]
    for policy, draw in ((loose, 3), (loose, 4), (bound, None), (bound, 3)):
        np.testing.assert_array_equal(replay(policy, days, draw=draw), policy.exit_steps(days, draw=draw))
    assert (loose.exit_steps(days, draw=3) != loose.exit_steps(days, draw=4)).any()
    assert (bound.exit_steps(days, draw=3) != loose.exit_steps(days, draw=3)).any()
    day = new_day(bound, path=tmp_path / "day", draw=3)
    day.decide(TIMES[0], FEED[0])
    again, first = LiveDay.load(tmp_path / "day", bound), json.loads((tmp_path / "day").read_text().splitlines()[0])
    assert first["draw"] == 3 and first["limits"] == dict(max_net=0.1, max_share=0.2)
    for k in range(1, len(TIMES)):
        for own in (day, again): own.path = None
        day.decide(TIMES[k], FEED[k]), again.decide(TIMES[k], FEED[k])
    assert (again.exit_steps == day.exit_steps).all()
    assert (day.exit_steps == bound.exit_steps(panel[:1], draw=3)[0]).all()
    with pytest.raises(ValueError, match="was decided within the limits {'max_net': 0.1.*has none: give the one"):
        LiveDay.load(tmp_path / "day", loose)


def test_live_trades_have_the_columns_of_a_backtest():
    day = new_day(until=2)
    own, cols = day.trades(), list(Exits.of(MADE[:1], ExitAt(1)).trades())
    assert list(own)[:len(cols)] == cols and own.ticker.tolist() == own.index.tolist()
    held = day.status().state[own.ticker] != "left"
    assert (own.step[held.to_numpy()] == -1).all() and (own.time[held.to_numpy()] == "").all() and held.any()
    for k in range(2, len(TIMES)): day.decide(TIMES[k], FEED[k])
    whole = Exits.of(day.panel, day.exit_steps[None]).trades()
    pd.testing.assert_frame_equal(day.trades()[cols].reset_index(drop=True), whole, check_dtype=False)


def test_compare_warns_of_days_that_were_trained_on(trained):
    "By date, where a policy is judged on days that it has learned from; not on others, and not of exits alone."
    with pytest.warns(UserWarning, match=r"policy 'mine' was trained on \d+ of these 30 days, the first .*in sample"):
        compare({"mine": trained.policy}, MADE, n_boot=100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare({"mine": trained.policy}, MADE[[x not in set(trained.context["days"]) for x in map(str, MADE.dates)]],
                n_boot=100)
        compare({"mine": trained.policy.exit_steps(MADE)}, MADE, n_boot=100)
