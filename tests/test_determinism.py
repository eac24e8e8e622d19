"""The same seed and thread count give the same agent: in any process, whatever others draw; long runs hold no more."""
import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig, payoff

LONG = float(os.environ.get("EOD_LONG_SECONDS", 8 if os.environ.get("EOD_ALL") else 4))
CODE = """
import random, sys, numpy as np, torch
from tests.test_determinism import digest, trained
torch.set_num_threads(1)
if sys.argv[1] == "noisy":
    torch.manual_seed(5), np.random.seed(6), random.seed(7)
def noise(agent):
    if sys.argv[1] == "noisy": torch.rand(3), np.random.rand(3), random.random()
print(digest(trained(callback=noise)))
"""


def trained(epochs=4, threads=1, **kw):
    fit, test = IntradayPanel.synthetic(D=40, T=6, N=60).split(30)
    config = PPOConfig(hidden=16, epochs=epochs, rollouts_per_epoch=8)
    agent = FactorizedPPOEOD.from_panel(fit, test, config=config, seed=2, threads=threads)
    agent.train(progress=False, eval_every=1000, **kw)
    return agent


def digest(agent):
    "Of the weights, the statistics, and every decision."
    found = hashlib.sha256()
    for x in agent.model.state_dict().values():
        found.update(x.numpy().tobytes())
    found.update(agent.policy.exit_steps(agent.eval_panel).tobytes())
    return found.hexdigest()


def elsewhere(how):
    "The same in a process of its own."
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, cwd=root, check=True,
                          env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": str(len(how))})
    return done.stdout.split()[-1]


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_other_processes_and_other_peoples_draws(one_thread, tmp_path):
    agent = trained()
    wanted = digest(agent)
    assert elsewhere("quiet") == elsewhere("noisy") == wanted
    agent.save(tmp_path / "agent.pt")
    assert digest(FactorizedPPOEOD.load(tmp_path / "agent.pt", agent.panel, agent.eval_panel)) == wanted


def test_global_generators_are_left_alone():
    def states():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002
    before = states()
    trained(epochs=1)
    assert states() == before


def test_thread_counts_agree_up_to_rounding():
    "Sums may be split differently, so the last bits may differ: after four epochs weights by less than 0.001."
    agents = [trained(threads=n) for n in (1, 2)]
    a, b = (torch.cat([p.detach().flatten() for p in x.model.parameters()]) for x in agents)
    assert (a - b).abs().max() < 1e-3
    test = agents[0].eval_panel
    x, y = (payoff(test, agent.policy.exit_steps(test)).mean() for agent in agents)
    assert abs(x - y) < 1e-5


def held():
    "Bytes and open files of this process."
    rss = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(rss.split()[1]) * 1024, len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_long_run_holds_no_more_and_no_more(one_thread, tmp_path):
    fit, test = IntradayPanel.synthetic(D=12, T=4, N=20).split(8)
    config = PPOConfig(hidden=8, rollouts_per_epoch=2, ppo_epochs=1)
    agent = FactorizedPPOEOD.from_panel(fit, test, config=config, seed=0)
    start, seen = time.monotonic(), []

    def look(agent):
        if len(agent._rows) % 20 == 0:
            seen.append((len(agent._rows), *held()))
        if time.monotonic() - start > LONG:
            raise StopIteration

    with pytest.raises(StopIteration):
        agent.train(epochs=10**7, eval_every=10**8, progress=False, callback=look, checkpoint=tmp_path / "a.pt",
                    checkpoint_every=500)
    epochs, rss, files = np.array(seen[len(seen) // 3:]).T
    slope = np.polyfit(epochs, rss, 1)[0]
    print(f"{epochs[-1]} epochs in {LONG:.0f} s: {slope:.0f} bytes an epoch, {files.max() - files.min()} more files")
    assert slope < 20_000 and files.max() == files.min()  # the history itself grows by a row an epoch
