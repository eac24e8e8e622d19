"""Walks through time with processes that die: workers killed, the run itself killed, a Dask cluster of two."""
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from joblib import parallel_config

from eod_exit_ppo.baselines import LeastSquaresMC, Threshold
from eod_exit_ppo.data import IntradayPanel
from eod_exit_ppo.ppo import PPOConfig
from eod_exit_ppo.walk_forward import FitAgent, WalkForward, walk_forward

CONFIG = PPOConfig(epochs=2, rollouts_per_epoch=4, hidden=8)
SETTINGS = dict(splitter=WalkForward(train=16, test=10), seeds=2, progress=False)
BASELINES = {"threshold": Threshold.fit, "least squares": LeastSquaresMC.fit}
NEEDS_SIGNALS = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill a process so")


@pytest.fixture(scope="module")
def panel():
    return IntradayPanel.synthetic(D=36, T=4, N=12)


@pytest.fixture(scope="module")
def serial(panel):
    return table(walk_forward(panel, CONFIG, jobs=1, policies=BASELINES, **SETTINGS))


def table(result):
    "All of a result as bytes."
    steps = b"".join(np.ascontiguousarray(s).tobytes() for s in result.exit_steps.values())
    return (result.to_frame().to_csv() + result.history.to_csv() + result.folds.to_csv()).encode() + steps


def dying(mark, always=False):
    "A fit of the agent that kills its own process: in the second fold the first time, or always."
    parent = os.getpid()

    def fit(train, seed):
        if always or train.dates[0] > np.datetime64("2020-01-05") and not mark.exists():
            mark.touch()
            if os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
        return FitAgent(CONFIG)(train, seed)

    return fit


@NEEDS_SIGNALS
def test_a_killed_worker(panel, serial, tmp_path):
    fits = {"learned": dying(tmp_path / "mark"), **BASELINES}
    with pytest.warns(UserWarning, match="a worker process was killed with [0-9]+ fits to go: they begin again"):
        result = walk_forward(panel, jobs=2, policies=fits, name=None, folder=tmp_path / "walk", **SETTINGS)
    assert (tmp_path / "mark").exists() and table(result) == serial


@NEEDS_SIGNALS
def test_a_fit_that_always_kills_its_worker(panel, tmp_path):
    fits = {"deadly": dying(tmp_path / "mark", always=True)}
    settings = {**SETTINGS, "splitter": WalkForward(train=16, test=20), "seeds": 1, "folder": tmp_path / "walk"}
    walk_forward(panel, jobs=1, policies=BASELINES, name=None, **settings)
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="killed with 1 fits to go, three times .*"
                                                                      "'deadly', fold 0, .* try fewer jobs"):
        warnings.simplefilter("ignore")
        walk_forward(panel, jobs=2, policies={**fits, **BASELINES}, name=None, **settings)
    assert len(list((tmp_path / "walk").glob("*.npz"))) == 2         # what could be fitted is kept


RUN = """
import sys, time
from test_walk_forward import *
class Slow(FitAgent):
    def __call__(self, train, seed):
        print("fit", flush=True)
        time.sleep(float(sys.argv[2]))
        return super().__call__(train, seed)
result = walk_forward(IntradayPanel.synthetic(D=36, T=4, N=12), jobs=1, folder=sys.argv[1], name=None,
                      policies={"learned": Slow(CONFIG), **BASELINES}, **SETTINGS)
sys.stdout.buffer.write(b"done " + table(result))
"""


def run(folder, wait):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    return subprocess.Popen([sys.executable, "-c", RUN, folder, str(wait)], stdout=subprocess.PIPE, env=env)


@NEEDS_SIGNALS
def test_the_run_itself_is_killed(serial, tmp_path):
    first, deadline = run(tmp_path, 0.5), time.time() + 120
    while len(list(tmp_path.glob("*.npz"))) < 3 and time.time() < deadline:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    kept = {f: f.stat().st_mtime_ns for f in tmp_path.glob("*.npz")}
    second = run(tmp_path, 0)
    head, _, result = second.communicate()[0].partition(b"done ")
    assert len(kept) >= 3 and second.returncode == 0 and result == serial
    assert head.count(b"fit") == 4 - len([f for f in kept if f.name.startswith("learned")]) < 4
    assert {f: f.stat().st_mtime_ns for f in kept} == kept           # nothing that was there was written again


def test_a_dask_cluster_of_two(panel, serial, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                  silence_logs=50) as cluster, distributed.Client(cluster):
        with parallel_config(backend="dask", scatter=[panel]):
            result = walk_forward(panel, CONFIG, jobs=-1, policies=BASELINES, folder=tmp_path, **SETTINGS)
            assert table(result) == serial
            if hasattr(signal, "SIGKILL"):                           # and again, with one of the two killed on the way
                fits = {"learned": dying(tmp_path / "mark"), **BASELINES}
                assert table(walk_forward(panel, jobs=-1, policies=fits, name=None, **SETTINGS)) == serial
                assert (tmp_path / "mark").exists()
    names = sorted({re.sub("-fold.*", "", f.name) for f in tmp_path.glob("*.npz")})
    assert names == ["learned", "least%20squares", "threshold"]
