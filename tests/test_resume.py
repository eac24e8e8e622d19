"""A training that is killed, by any means and at any moment, and taken up again ends as if nothing had happened."""
import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
import torch

from sizes import size

from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig

CONFIGS = {
    "stock": PPOConfig(hidden=16, epochs=30, rollouts_per_epoch=4, eval_every=7),
    "book": PPOConfig.joint(hidden=16, epochs=30, rollouts_per_epoch=4, stock_subsample=20, ppo_epochs=2, eval_every=7),
}
KILLS = size(5, 20)
processes = multiprocessing.get_context("fork")  # what is imported is there at once


def days():
    return IntradayPanel.synthetic(D=30, T=5, N=40).split(20)


def train(path, kind, slowly=0.0):
    "Begin, or go on where the checkpoint ends: what the same command does when it is given once more."
    torch.set_num_threads(1)
    if path.exists():
        agent, going = FactorizedPPOEOD.load(path, *days()), True
    else:
        agent, going = FactorizedPPOEOD.from_panel(*days(), config=CONFIGS[kind], seed=3), False
    agent.train(progress=False, checkpoint=path, checkpoint_every=1, resume=going,
                callback=lambda agent: time.sleep(slowly))
    return agent


def in_child(path, kind):
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    train(path, kind, slowly=0.005)


def end_of(agent):
    "All that counts of an agent, and what it decides."
    test = days()[1]
    weights = torch.cat([x.double().flatten() for x in agent.model.state_dict().values()])
    moments = [x for s in agent.optimizer.state_dict()["state"].values() for x in s.values()]
    return (weights, torch.cat([x.double().flatten() for x in moments]), agent.generator.get_state(),
            agent.eval_generator.get_state(), agent.history.drop(columns="seconds"), agent.policy.exit_steps(test))


def assert_same(a, b):
    for x, y in zip(end_of(a), end_of(b)):
        if isinstance(x, torch.Tensor):
            assert torch.equal(x, y)
        elif isinstance(x, np.ndarray):
            np.testing.assert_array_equal(x, y)
        else:
            assert x.equals(y)


def kill(child, folder, rng, writing):
    "At a random moment; or at one at which a checkpoint is half written."
    until = time.monotonic() + rng.uniform(0.02, 1.2)
    while child.is_alive() and (time.monotonic() < until or writing and not any(folder.glob(".*.part"))):
        time.sleep(0.0002)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("kind", CONFIGS)
def test_killed_and_resumed_is_the_same_to_the_last_bit(kind, tmp_path):
    whole = train(tmp_path / "whole.pt", kind)
    rng, killed, half_written, kept = random.Random(kind), 0, 0, []
    while killed < KILLS // len(CONFIGS):
        path = tmp_path / str(killed) / "agent.pt"
        path.parent.mkdir(exist_ok=True)
        child = processes.Process(target=in_child, args=(path, kind))
        child.start()
        if not kill(child, path.parent, rng, writing=killed % 2 == 0):
            path.unlink()  # it was done before
            continue
        killed, half_written = killed + 1, half_written + any(path.parent.glob(".*.part"))
        kept.append(len(FactorizedPPOEOD.load(path).history) if path.exists() else 0)
        assert_same(train(path, kind), whole)
        assert [p.name for p in path.parent.iterdir()] == ["agent.pt"]
    print(f"{kind}: {killed} kills, {half_written} while a checkpoint was written; resumed after {kept} of 30 epochs")
    assert half_written >= KILLS // len(CONFIGS) // 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_stops(number, tmp_path):
    path = tmp_path / "agent.pt"
    child = processes.Process(target=in_child, args=(path, "stock"))
    child.start()
    while not path.exists():
        time.sleep(0.005)
    os.kill(child.pid, number)
    child.join(20)
    assert child.exitcode not in (None, 0)
    done = len(FactorizedPPOEOD.load(path).history)
    assert 1 <= done <= 30
    assert_same(train(path, "stock"), train(tmp_path / "whole.pt", "stock"))


def test_resume_is_refused_on_other_days_or_settings(tmp_path):
    path = tmp_path / "agent.pt"
    agent = FactorizedPPOEOD.from_panel(*days(), config=CONFIGS["stock"], seed=3)
    agent.train(epochs=2, progress=False, checkpoint=path)
    fit, test = days()
    with pytest.raises(ValueError, match=r"resume: the panel was 20 days .*, and is 19 days"):
        FactorizedPPOEOD.load(path, fit[1:], test).train(resume=True)
    changed = IntradayPanel(fit.signals, fit.returns * 1.0001, fit.weights, dates=fit.dates)
    with pytest.raises(ValueError, match="resume: the panel was"):
        FactorizedPPOEOD.load(path, changed, test).train(resume=True)
    with pytest.raises(ValueError, match="resume: batch_size was 16 and is 5"):
        FactorizedPPOEOD.load(path, fit, test).train(batch_size=5, resume=True)
