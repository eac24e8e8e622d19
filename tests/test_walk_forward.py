"""Walks through time with processes that die, a Dask cluster of two, and code that is edited between two walks."""
import importlib
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
from eod_exit_ppo.checks import refused
from eod_exit_ppo.data import IntradayPanel
from eod_exit_ppo.ppo import PPOConfig
from eod_exit_ppo.walk import FitAgent, WalkForward, walk_forward

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
@pytest.mark.slow
def test_a_fit_that_always_kills_its_worker(panel, tmp_path):
    fits = {"deadly": dying(tmp_path / "mark", always=True)}
    settings = {**SETTINGS, "splitter": WalkForward(train=16, test=20), "seeds": 1, "folder": tmp_path / "walk"}
    walk_forward(panel, jobs=1, policies=BASELINES, name=None, **settings)
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="killed with 1 fits to go, three times .*"
                                                                      "'deadly', fold 0, .* try fewer jobs"):
        warnings.simplefilter("ignore")
        walk_forward(panel, jobs=2, policies={**fits, **BASELINES}, name=None, **settings)
    assert len(list((tmp_path / "walk").glob("*.fit"))) == 2         # what could be fitted is kept


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
    while len(list(tmp_path.glob("*.fit"))) < 3 and time.time() < deadline:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    kept = {f: f.stat().st_mtime_ns for f in tmp_path.glob("*.fit")}
    second = run(tmp_path, 0)
    head, _, result = second.communicate()[0].partition(b"done ")
    assert len(kept) >= 3 and second.returncode == 0 and result == serial
    assert head.count(b"fit") == 4 - len([f for f in kept if f.name.startswith("learned")]) < 4
    assert {f: f.stat().st_mtime_ns for f in kept} == kept           # nothing that was there was written again


def dying_once_each(folder):
    "A fit of the agent that kills every process but this one, the first time that it is called there, two in all."
    parent = os.getpid()

    def fit(train, seed):
        if os.getpid() != parent and len(list(folder.glob("dead*"))) < 2:
            (folder / f"dead{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return FitAgent(CONFIG)(train, seed)

    return fit


@pytest.mark.slow
def test_a_dask_cluster_of_two(panel, serial, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    own, sent = IntradayPanel.__getstate__, []
    monkeypatch.setattr(IntradayPanel, "__getstate__", lambda self: sent.append(1) or own(self))
    odd = panel.with_arrays(returns=np.asfortranarray(panel.returns))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                  silence_logs=50) as cluster, distributed.Client(cluster):
        with parallel_config(backend="dask"):
            result = walk_forward(odd, CONFIG, jobs=-1, policies=BASELINES, folder=tmp_path, **SETTINGS)
            assert table(result) == serial and len(sent) == 1        # the panel goes there once, not with each fit
            if hasattr(signal, "SIGKILL"):                           # and again, with one of the two killed on the way
                fits = {"learned": dying(tmp_path / "mark"), **BASELINES}
                assert table(walk_forward(panel, jobs=-1, policies=fits, name=None, **SETTINGS)) == serial
                assert (tmp_path / "mark").exists() and len(sent) == 2
    names = sorted({re.sub("-fold.*", "", f.name) for f in tmp_path.glob("*.fit")})
    assert names == ["learned", "least%20squares", "threshold"]


@pytest.mark.slow
@NEEDS_SIGNALS
def test_a_dask_cluster_whose_workers_all_die(panel, serial, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                  silence_logs=50) as cluster, distributed.Client(cluster), parallel_config("dask"):
        fits = {"learned": dying_once_each(tmp_path), **BASELINES}
        with warnings.catch_warnings():                              # the panel may die with the second
            warnings.filterwarnings("ignore", "a worker process was killed")
            assert table(walk_forward(panel, jobs=-1, policies=fits, name=None, **SETTINGS)) == serial
    assert len(list(tmp_path.glob("dead*"))) == 2


RULES = """
import numpy as np
from functools import partial
from eod_exit_ppo.baselines import ExitAt
{blank}
LEVEL, NAMES = 1, frozenset(["a", "b", "c", "d"])
def helper(): return {k}
def fit(train): return ExitAt(helper() + (LEVEL if "a" in NAMES else 0))
class Fit:
    __slots__ = ("level",)
    def __init__(self, level): self.level = level
    def __call__(self, train): return ExitAt(self.level)
    def fit(self, train): return ExitAt(self.level + helper())
"""
ASK = """
import sys
import my_rules
from eod_exit_ppo.identity import fingerprint
from my_rules import *
exec(compile(open(sys.argv[1]).read(), "notebook cell %s" % sys.argv[2], "exec"))          # as a notebook runs cells
def imports(train):
    from my_rules import helper
    return ExitAt(helper())
def twice(k):
    def inner(train): return ExitAt(k)
    return lambda train: inner(train)
for x in (my_rules.fit, my_rules.Fit(1), my_rules.Fit(1).fit, fit, Fit(1), Fit(1).fit, partial(fit, 1), imports, NAMES,
          lambda train: my_rules.fit(train), twice(3), lambda train, a={"x", "y", ("z", 1)}: ExitAt(len(a))):
    print(fingerprint(x))
"""


def asked(folder, seed=0, **rules):
    "Fingerprints from a process of its own, of what is in a module and of the same in its main module."
    (folder / "my_rules.py").write_text(RULES.format(**{"k": 0, "blank": "", **rules}))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "PYTHONHASHSEED": str(seed),
           "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", ASK, folder / "my_rules.py", str(seed)], env=env, check=True,
                          capture_output=True, text=True)
    return done.stdout.split()


def test_the_same_code_has_the_same_fingerprint_in_every_process(tmp_path):
    first = asked(tmp_path, 1)
    assert first == asked(tmp_path, 2, blank="\n\n# on other lines\n") and len(first) == 12
    edited = asked(tmp_path, 3, k=1)
    apart = [k for k, (a, b) in enumerate(zip(first, edited)) if a != b]
    assert apart == [0, 1, 2, 3, 4, 5, 6, 7, 9]                      # all that reach the helper, and only those


def write_rules(folder, k):
    (folder / "rules_of_mine.py").write_text(f"from eod_exit_ppo.baselines import ExitAt\ndef helper(): return {k}\n"
                                             "def fit(train): return ExitAt(helper())\n")


@pytest.fixture
def rules(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_rules(tmp_path, 1)
    yield __import__("rules_of_mine")
    del sys.modules["rules_of_mine"]


def test_an_edited_helper_is_not_served_from_a_folder(panel, rules, tmp_path):
    settings = {**SETTINGS, "name": None, "policies": {"mine": rules.fit}, "folder": tmp_path / "walk"}
    assert (walk_forward(panel, jobs=1, **settings).exit_steps["mine"] == 1).all()
    write_rules(tmp_path, 2)
    settings["policies"] = {"mine": importlib.reload(rules).fit}
    refused(lambda: walk_forward(panel, jobs=1, **settings), "walk holds 'mine' with other settings: code and values")
    settings["policies"] = {"edited": rules.fit}
    edited = walk_forward(panel, jobs=1, **settings)
    assert (edited.exit_steps["edited"] == 2).all() and edited.tried == 2


@pytest.mark.slow
def test_a_worker_that_has_older_code_keeps_nothing(panel, rules, tmp_path):
    settings = {**SETTINGS, "name": None, "jobs": 2, "folder": tmp_path / "walk"}
    assert (walk_forward(panel, policies={"mine": rules.fit}, **settings).exit_steps["mine"] == 1).all()
    write_rules(tmp_path, 2)
    fits = {"edited": importlib.reload(rules).fit}                   # the workers still have what they imported
    refused(lambda: walk_forward(panel, policies=fits, **settings), "another rules_of_mine.fit: it was edited, or .* "
            "start Python again, or fit with jobs=1", RuntimeError)
    assert not list((tmp_path / "walk").glob("edited*"))
    settings["jobs"] = 1
    assert (walk_forward(panel, policies=fits, **settings).exit_steps["edited"] == 2).all()


def test_a_folder_of_the_first_format_is_refused(panel, tmp_path):
    (tmp_path / "walk.json").write_text('{"format": "eod_exit_ppo walk", "format_version": 1}')
    refused(lambda: walk_forward(panel, CONFIG, jobs=1, folder=tmp_path, **SETTINGS), "has format 1, .* give another")
