"""Checkpoints and panels: damage is found, a full disk costs nothing, nothing in a file is run, one run a folder."""
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig
from eod_exit_ppo.files import locked, seal

DAMAGED = 500  # files


@pytest.fixture(scope="module")
def panel():
    return IntradayPanel.synthetic(D=12, T=4, N=20, missing=0.1).with_costs(2, 1)


@pytest.fixture(scope="module")
def agent(panel):
    config = PPOConfig(hidden=8, epochs=2, rollouts_per_epoch=3)
    agent = FactorizedPPOEOD.from_panel(*panel.split(8), config=config)
    agent.train(progress=False)
    return agent


def damage(data, rng):
    "The same bytes with a bit flipped, cut short, two parts exchanged, a run of zeros, or something added."
    data, how = bytearray(data), rng.randrange(5)
    a, b = sorted(rng.sample(range(len(data)), 2))
    if how == 0:
        data[a] ^= 1 << rng.randrange(8)
    elif how == 1:
        del data[a:]
    elif how == 2:
        half = (b - a + 1) // 2
        data[a:a + half], data[b - half:b] = data[b - half:b], data[a:a + half]
    elif how == 3:
        data[a:b] = bytes(b - a)
    else:
        data[a:a] = rng.randbytes(1 + rng.randrange(50))
    return bytes(data)


def test_damaged_checkpoints_are_refused(agent, tmp_path):
    path, rng, found = tmp_path / "agent.pt", random.Random(0), 0
    agent.save(path)
    good = path.read_bytes()
    while found < DAMAGED // 2:
        bad = damage(good, rng)
        if bad == good:
            continue
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"agent\.pt (is damaged|is no checkpoint|has format)"):
            FactorizedPPOEOD.load(path)
        found += 1


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_damaged_panels_are_refused(panel, tmp_path):
    panel.save(tmp_path / "good")
    rng, found, names = random.Random(1), 0, sorted(p.name for p in (tmp_path / "good").iterdir())
    while found < DAMAGED - DAMAGED // 2:
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        if found % 5 == 0:  # two parts exchanged, or one gone
            a, b = rng.sample(names, 2)
            (tmp_path / "bad" / a).write_bytes((tmp_path / "good" / b).read_bytes())
            if found % 10 == 0:
                (tmp_path / "bad" / a).unlink()
        else:
            path = tmp_path / "bad" / rng.choice(names)
            path.write_bytes(damage(path.read_bytes(), rng))
        if contents(tmp_path / "bad") == contents(tmp_path / "good"):
            continue
        with pytest.raises(ValueError, match="is damaged|is missing|cut short|is no panel|has format"):
            IntradayPanel.load(tmp_path / "bad", mmap=rng.random() < 0.5)
        found += 1


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was here"),)
    body = tmp_path / "body"
    for write in (lambda: torch.save(dict(config=Trap()), body), lambda: body.write_bytes(pickle.dumps(Trap()))):
        write()
        found = body.read_bytes()
        sealed = seal("checkpoint", 2, found, at_end=True), seal("checkpoint", 1, found)
        for data in (found, *sealed):  # as it is; with a fitting checksum
            (tmp_path / "agent.pt").write_bytes(data)
            with pytest.raises(ValueError, match="no checkpoint of this package|holds what no checkpoint holds"):
                FactorizedPPOEOD.load(tmp_path / "agent.pt")
    np.save(body.with_suffix(".npy"), np.array([Trap()], dtype=object), allow_pickle=True)
    panel = IntradayPanel.synthetic(D=3, T=2, N=4)
    panel.save(tmp_path / "panel")
    shutil.copy(body.with_suffix(".npy"), tmp_path / "panel" / "signals.npy")
    with pytest.raises(ValueError, match="signals.npy is"):
        IntradayPanel.load(tmp_path / "panel")
    assert not (tmp_path / "was here").exists()


@pytest.fixture
def small_disk():
    "Files may not grow beyond 2000 bytes: what a quota, or a full disk, does to a writer."
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda on: resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if on else old[0], old[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_last_good_files(agent, panel, tmp_path, small_disk):
    agent.save(tmp_path / "agent.pt")
    panel.save(tmp_path / "panel")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    more = FactorizedPPOEOD.load(tmp_path / "agent.pt", agent.panel, agent.eval_panel)
    small_disk(True)
    with pytest.raises(OSError, match=r"agent\.pt could not be written .*what was there before is untouched"):
        more.train(epochs=2, progress=False, checkpoint=tmp_path / "agent.pt", checkpoint_every=1)
    with pytest.raises(OSError, match="panel could not be written .*what was there before is untouched"):
        panel.save(tmp_path / "panel", overwrite=True)
    small_disk(False)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    more.train(resume=True, progress=False, checkpoint=tmp_path / "agent.pt")  # there is room again
    assert len(FactorizedPPOEOD.load(tmp_path / "agent.pt").history) == 4


def test_a_place_that_cannot_be_written(agent, panel, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in ("/proc/agent.pt", tmp_path / "file" / "agent.pt"):
        with pytest.raises(OSError, match=r"agent\.pt could not be written"):
            agent.save(path)
    for path in ("/proc/panel", tmp_path / "file" / "panel"):
        with pytest.raises(OSError, match="panel could not be written"):
            panel.save(path)
    assert (tmp_path / "file").read_text() == "in the way"


def test_one_run_a_folder_and_no_stale_locks(tmp_path):
    code = ("import sys, time; from eod_exit_ppo.files import locked\n"
            "with locked(sys.argv[1]): print('held', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OSError, match="is in use by another run"), locked(tmp_path):
            pass
        other.kill()
    with locked(tmp_path):
        pass
