"""The scripts under benchmarks/ run to their end at tiny sizes. What they then print is worth nothing."""
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
TINY = {"epoch": "--days 2 --repeats 1 --threads 1", "gpu": "--device cpu", "live": "--quick",
        "scale": "--quick --epochs 1 --threads 1",
        "peers": "--peers least_squares sb3_book --other-seeds 1 --book-seconds 0.1 --threads 1", "threads": "--quick",
        "bars": "--quick", "update": "--quick", "many": "--quick", "book": "--quick --problems start"}


def test_none_is_forgotten():
    assert {*TINY, "joint", "results"} == {p.stem for p in FOLDER.glob("*.py")}


LONG = TINY.keys() - {"update"}


@pytest.mark.parametrize("name", [pytest.param(k, marks=pytest.mark.slow) if k in LONG else k for k in TINY])
def test_it_runs(name):
    before = (FOLDER / "RESULTS.md").read_bytes()
    done = subprocess.run([sys.executable, FOLDER / f"{name}.py", *TINY[name].split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| " in done.stdout and (FOLDER / "RESULTS.md").read_bytes() == before


def test_joint_runs(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from joint import SETTINGS, curve
    for config in SETTINGS.values():
        found = curve(replace(config, epochs=1, rollouts_per_epoch=2, ppo_epochs=1), seed=1)
        assert len(found) == 1 and found.payoff.notna().all()
