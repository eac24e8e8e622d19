"""The command line as a process of its own: what a shell sees."""
import subprocess
import sys
from pathlib import Path

import pytest

from eod_exit_ppo import IntradayPanel

COMMANDS = {"module": [sys.executable, "-m", "eod_exit_ppo"],
            "script": [str(Path(sys.executable).with_name("eod-exit-ppo"))]}


def call(*args, cwd, command="module"):
    "Exit status, standard output and standard error."
    done = subprocess.run([*COMMANDS[command], *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_version(command, tmp_path):
    status, out, err = call("--help", cwd=tmp_path, command=command)
    assert status == 0 and not err
    assert out.startswith("Usage: eod-exit-ppo ") and all(word in out for word in ("demo", "train", "evaluate"))
    assert call("--version", cwd=tmp_path, command=command)[1].startswith("eod-exit-ppo 0.")


def test_train_then_evaluate(tmp_path):
    IntradayPanel.synthetic(D=24, T=4, N=30).to_frame().to_parquet(tmp_path / "days.parquet")
    status, trained, err = call("train", "days.parquet", "--out", "runs/first", "--epochs", 10, "--test-days", 8,
                                "--threads", 1, cwd=tmp_path)
    assert status == 0 and not err, err  # no progress bar where nobody watches
    assert "Epoch 010 | Eval avg EOD PnL 0.0" in trained
    found = sorted(p.name for p in (tmp_path / "runs" / "first").iterdir())
    assert found == ["agent.pt", "config.json", "history.csv", "history.png"]
    status, judged, err = call("evaluate", "runs/first", "days.parquet", "--last-days", 8, "--exits", "exits.csv",
                               cwd=tmp_path)
    assert status == 0 and not err, err
    table = trained[trained.index("payoff a day"):].splitlines()[:3]
    assert table == judged[judged.index("payoff a day"):].splitlines()[:3]
    assert (tmp_path / "exits.csv").read_text().startswith("date,ticker,exit_step,time\n2020-01-")


@pytest.mark.parametrize("args, why", [
    (["train", "nowhere.parquet", "--out", "run"], "nowhere.parquet"),
    (["train", "notes.csv", "--out", "run"], "the table lacks the columns"),
    (["evaluate", ".", "notes.csv"], "there is no checkpoint"),
    (["demo", "--seed", "x"], "--seed"),
    (["learn"], "learn"),
])
def test_a_mistake_is_one_sentence(args, why, tmp_path):
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    status, out, err = call(*args, cwd=tmp_path)
    assert status == 2 and not out
    assert why in err and "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["notes.csv"]
