"""The command line: what a shell sees, mostly from a process of its own."""
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, LiveDay, PPOConfig, compare
from eod_exit_ppo.bars import synthetic_bars
from eod_exit_ppo.cli import app
from eod_exit_ppo.limits import Limits
from eod_exit_ppo.market import daily_closes, from_bars, reversal

COMMANDS = {"module": [sys.executable, "-m", "eod_exit_ppo"],
            "script": [str(Path(sys.executable).with_name("eod-exit-ppo"))]}


def call(*args, cwd, command="module"):
    "Exit status, standard output and standard error."
    done = subprocess.run([*COMMANDS[command], *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=180)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    "The same from this process, in the folder of the test: many small calls without the start of a process for each."
    def call_here(*args):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as done: app(list(map(str, args)), prog_name="eod-exit-ppo")
        return done.value.code, *capsys.readouterr()
    return call_here


def test_help_and_version(tmp_path):
    status, out, err = call("--help", cwd=tmp_path, command="script")
    assert status == 0 and not err
    commands = ("demo", "panel", "train", "evaluate", "walk-forward", "report", "decide")
    assert out.startswith("Usage: eod-exit-ppo ") and all(word in out for word in commands)
    assert call("--version", cwd=tmp_path)[1].startswith("eod-exit-ppo 0.")


def test_train_then_evaluate(tmp_path, here):
    IntradayPanel.synthetic(D=24, T=4, N=30).to_frame().to_parquet(tmp_path / "days.parquet")
    status, trained, err = call("train", "days.parquet", "--out", "runs/first", "--epochs", 25, "--test-days", 8,
                                "--threads", 1, cwd=tmp_path)
    assert status == 0 and not err, err  # no progress bar where nobody watches
    assert "Epoch 025 | Eval avg EOD PnL 0.0" in trained
    found = sorted(p.name for p in (tmp_path / "runs" / "first").iterdir())
    assert found == ["agent.pt", "config.json", "history.csv", "history.png"]
    assert os.listdir(tmp_path / "runs") == ["first"]  # nothing half-made beside it
    status, judged, err = here("evaluate", "runs/first", "days.parquet", "--last-days", 8, "--exits", "exits.csv")
    assert status == 0 and not err, err
    table = trained[trained.index("payoff per day"):].splitlines()[:3]
    assert table == judged[judged.index("payoff per day"):].splitlines()[:3]
    assert (tmp_path / "exits.csv").read_text().startswith("date,ticker,exit_step,time\n2020-01-")


def test_a_terminal_sees_the_progress(tmp_path):
    "The bar redraws its line, what is said meanwhile has lines of its own, and both are whole at the end."
    IntradayPanel.synthetic(D=24, T=4, N=30).save(tmp_path / "days")
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [*COMMANDS["module"], *"train days --out run --epochs 50 --test-days 8 --threads 1".split()]
    with subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while True:
            try: piece = os.read(ours, 4096)
            except OSError: break  # the other end is closed
            if not piece: break
            seen += piece
    os.close(ours)
    lines = seen.decode().replace("\r\n", "\n").split("\n")
    assert process.returncode == 0, seen.decode()
    bars = [line for line in lines if "training: " in line]
    assert "training: 100%" in bars[-1] and "50/50" in bars[-1] and bars[-1].count("\r") > 1
    shown = [line.split("\r")[-1].strip() for line in lines]
    assert [line[:9] for line in shown if line.startswith("Epoch ")] == ["Epoch 025", "Epoch 050"]


@pytest.mark.slow  # 63_cli does the same, and test_offline makes a report
def test_from_bars_to_a_walk_and_its_report(tmp_path, here):
    "The whole way of a user who never opens Python, fits in processes of their own, the walk interrupted by nothing."
    bars = synthetic_bars(days=30, tickers=8, every="30min", edge=0.5)
    bars.to_parquet(tmp_path / "bars.parquet")
    reversal(daily_closes(bars)).to_csv(tmp_path / "signals.csv")
    status, out, err = here("panel", "bars.parquet", "--signals", "signals.csv", "--snapshots", "10:30,13:00",
                            "--cost-bps", 2, "--out", "panel")
    assert status == 0 and not err, err
    assert "rows = " in out and "no signal" in out and "2 bps to exit early" in out
    assert list(IntradayPanel.load(tmp_path / "panel").times) == ["10:30", "13:00", "16:00"]
    walk = ("walk-forward", "panel", "--out", "walk", "--train", 12, "--test", 8, "--seeds", 2, "--epochs", 2)
    status, out, err = call(*walk, "--jobs", 2, cwd=tmp_path)
    assert status == 0 and not err, err
    assert "learned (2 seeds), threshold, least squares, best fixed exit" in out and "configurations tried  4" in out
    assert here(*walk, "--jobs", 1)[1] == out  # all of it found in the folder
    status, out, err = here("report", "walk", "--out", "report.html")
    assert status == 0 and not err, err
    page = (tmp_path / "report.html").read_text()
    assert "The gain over holding to the close was" in page and str(tmp_path) not in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bars.parquet", "panel", "report.html", "signals.csv", "walk"]


@pytest.mark.parametrize("names", [[f"T{k}" for k in range(12)], [1300 + 7 * k for k in range(12)]])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_live_day_from_files(names, kind, tmp_path, here):
    "Tickers of whole numbers are text like others, times may have blanks, and the book may be given again."
    agent = FactorizedPPOEOD.from_panel(IntradayPanel.synthetic(D=6, T=3, N=12), config=PPOConfig(epochs=1, hidden=8))
    agent.train(progress=False)
    agent.save(tmp_path / "agent.pt")
    rng = np.random.default_rng(0)
    book = dict(ticker=names, signal=rng.normal(size=12), weight=rng.normal(size=12) * (np.arange(12) > 0),
                prior_close=np.full(12, 50.0), universe=np.ones(12, bool))
    feed = dict(ticker=names, price=rng.normal(50, 0.5, 12), halted=np.arange(12) == 5)
    cost = dict(ticker=names, bps=np.arange(12.0))
    for name, table in dict(book=book, feed=feed, cost=cost).items():
        if kind == "csv": pd.DataFrame(table).to_csv(tmp_path / f"{name}.csv", index=False)
        else: pd.DataFrame(table).to_parquet(tmp_path / f"{name}.parquet")
    for time in ("9:30", "11:00"):
        status, out, err = here("decide", "agent.pt", "--state", "day", "--time", time, "--prices", f"feed.{kind}",
                                "--book", f"book.{kind}", "--date", "2024-05-31", "--times", "9:30, 11:00 ,16:00",
                                "--cost-bps", f"cost.{kind}")
        assert status == 0 and not err, err
    day = LiveDay.load(tmp_path / "day", agent.policy)
    assert day.times == ["9:30", "11:00", "16:00"] and day.tickers == [str(k) for k in names] and day.last == "11:00"
    np.testing.assert_allclose(day.panel.costs[0], np.arange(12) / 1e4)
    assert day.panel.universe.all() and day.status().state.iloc[0] == "no weight"
    assert day.panel.tradable[0, 1].tolist() == [k != 5 for k in range(12)]


def test_prices_and_days_as_from_bars_takes_them(tmp_path, here):
    "Every option of the rules for prices and days reaches `from_bars`; a word that is none is refused by its name."
    bars = synthetic_bars(days=20, tickers=12, every="30min", seed=2).assign(volume=1)
    bars.loc[bars.index[::50], "volume"] = 0
    bars.loc[(bars.ticker == "T03") & (bars.time == "12:00"), "close"] *= 2
    days = bars[["date", "ticker"]].drop_duplicates()
    bars.to_csv(tmp_path / "bars.csv", index=False)
    days.assign(dividend=0.01).to_csv(tmp_path / "paid.csv", index=False)
    days.assign(close=20.0)[:5].to_csv(tmp_path / "closes.csv", index=False)
    tables = dict(dividends=tmp_path / "paid.csv", close=tmp_path / "closes.csv")
    own = dict(no_volume="keep", cut_short="keep")
    rest = dict(jumps="keep", gaps="keep", list_gap=0.01, min_bars=0.1)
    words = [w for k, x in (tables | own | rest).items() for w in (f"--{k.replace('_', '-')}", x)]
    status, said, err = here("panel", "bars.csv", "--signals", "reversal", "--out", "panel", *words)
    assert status == 0, err
    signals = reversal(daily_closes(bars, max_gap=None, **tables, **own), max_gap=None)
    panel, _ = from_bars(bars, signals, **tables, **own, **rest)
    assert IntradayPanel.load(tmp_path / "panel").fingerprint() == panel.fingerprint()
    assert "jump within the day" in said and "large overnight move" in said
    for name in ("jumps", "gaps", "no_volume", "cut_short"):
        status, out, err = here("panel", "bars.csv", "--signals", "reversal", "--out", "no",
                                f"--{name.replace('_', '-')}", "x")
        assert status == 2 and f"{name} is 'x'" in err and not (tmp_path / "no").exists()


def test_an_objective_limits_and_a_start(tmp_path, here):
    "They are learned under, kept with the run and the walk, judged by, and shown."
    IntradayPanel.synthetic(D=60, T=4, N=20).save(tmp_path / "days")
    goal = ("--objective", "payoff - impact(0.01)", "--max-net", 0.3, "--max-share", 0.4, "--start", "least-squares")
    status, said, err = here("train", "days", "--out", "run", "--epochs", 2, *goal)
    assert status == 0 and "by payoff - impact(0.01)" in said, err
    agent = FactorizedPPOEOD.load(tmp_path / "run" / "agent.pt")
    assert repr(agent.objective) == "payoff - impact(0.01)" and agent.limits == Limits(0.3, 0.4)
    assert type(agent.start.rule).__name__ == "LeastSquaresMC"
    judged = compare({"learned policy": agent.policy}, IntradayPanel.load(tmp_path / "days")[-20:],
                     objective="payoff - risk(0.5)").iloc[0]
    status, said, err = here("evaluate", "run", "days", "--last-days", 20, "--json", "--objective",
                             "payoff - risk(0.5)")
    assert status == 0 and not err, err
    assert json.loads(said)["policies"]["learned policy"] == judged.to_dict()
    status, said, err = here("walk-forward", "days", "--out", "walk", "--train", 25, "--test", 15, "--seeds", 1,
                             "--jobs", 1, "--epochs", 2, *goal)
    assert status == 0 and "by payoff - impact(0.01)" in said, err
    status, _, err = here("report", "walk", "--out", "walk.html")
    page = (tmp_path / "walk.html").read_text()
    assert status == 0 and "trained on <em>payoff - impact(0.01)</em>" in page and "impact(0.01) (bps)" in page, err


@pytest.mark.parametrize("words, why", [
    (["--objective", "payoff - magic(1)"], "objective is 'payoff - magic(1)': there is no term 'magic'"),
    (["--objective", "payoff - impact(-1)"], "impact: kappa is -1"),
    (["--max-net", "-1"], "--max-net"), (["--max-share", "nan"], "--max-share"), (["--start", "magic"], "--start")])
@pytest.mark.parametrize("command", ["train", "walk-forward"])
def test_no_such_objective(words, why, command, tmp_path, here):
    IntradayPanel.synthetic(D=9, T=4, N=20).save(tmp_path / "days")
    size = ("--train", 5, "--test", 2) if command == "walk-forward" else ()
    status, _, err = here(command, "days", "--out", "run", *size, *words)
    assert status == 2 and why in err and "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("args, why", [
    (["train", "nowhere.parquet", "--out", "run"], "nowhere.parquet"),
    (["train", "notes.csv", "--out", "run"], "the table lacks the columns"),
    (["evaluate", ".", "notes.csv"], "there is no checkpoint"),
    (["panel", "notes.csv", "--signals", "notes.csv", "--out", "new"], "signals"),
    (["walk-forward", "notes.csv", "--out", "new"], "the table lacks the columns"),
    (["report", ".", "--out", "new.html"], "there is no checkpoint"),
    (["decide", ".", "--state", "s", "--time", "10:00", "--prices", "notes.csv"], "there is no checkpoint"),
    (["decide", "notes.csv", "--state", "s", "--time", "10:00", "--prices", "notes.csv"], "notes.csv is no checkpoint"),
    (["walk-forward", "notes.csv", "--out", "new", "--name", "hold"], "--name is 'hold'"),
    (["demo", "--seed", "x"], "--seed"),
    (["learn"], "learn"),
])
def test_a_mistake_is_one_sentence(args, why, tmp_path, here):
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    status, out, err = here(*args)
    assert status == 2 and not out
    assert why in err and "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["notes.csv"]
