"""The joint recipe on the default data: fitted on the first 200 days, judged on the last 100, three seeds.

    python benchmarks/joint.py            the specified settings, then settings of our own; about 15 minutes

Every seed that is done is added to benchmarks/joint.csv at once; one that is there already is not run again.
The notebook 26_agent draws the curves."""
import os
import sys
import time
from pathlib import Path

import pandas as pd
import torch

from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig, payoff

CSV = Path(__file__).with_name("joint.csv")
SETTINGS = {
    "specified": PPOConfig.joint(ppo_epochs=6),
    "own": PPOConfig.joint(hidden=64, ppo_epochs=1, batch_size=128, lr=3e-3, lr_schedule="cosine", initial_exit=1 / 8),
}


def curve(config: PPOConfig, seed: int, every: int = 20) -> pd.DataFrame:
    "One row a look: epoch, payoff of the policy on unseen days, of its draws in training, seconds of training."
    train, test = IntradayPanel.synthetic().split(200)
    rows, looking, start = [], 0.0, time.perf_counter()

    def look(agent):
        nonlocal looking
        epoch = len(agent.history)
        if epoch % every and epoch != 1:
            return
        before = time.perf_counter()
        drawn = agent.history.payoff.tail(5).mean()
        rows.append((epoch, payoff(test, agent.policy.exit_steps(test)).mean(), drawn, before - start - looking))
        looking += time.perf_counter() - before

    agent = FactorizedPPOEOD.from_panel(train, test, config=config, seed=seed)
    agent.train(eval_every=10**6, progress=False, callback=look)
    return pd.DataFrame(rows, columns=["epoch", "payoff", "drawn", "seconds"])


def main() -> None:
    torch.set_num_threads(2)
    for name, config in SETTINGS.items():
        for seed in (7, 8, 9):
            done = pd.read_csv(CSV) if CSV.exists() else pd.DataFrame(columns=["settings", "seed"])
            if ((done.settings == name) & (done.seed == seed)).any():
                continue
            new = curve(config, seed).assign(settings=name, seed=seed)
            both = new if done.empty else pd.concat([done, new])
            part = CSV.with_suffix(".part")
            columns = ["settings", "seed", "epoch", "payoff", "drawn", "seconds"]
            both[columns].to_csv(part, index=False, float_format="%.6g")
            os.replace(part, CSV)
            last = new.iloc[-1]
            print(f"{name}, seed {seed}: {last.payoff:.5f} after {last.epoch:.0f} epochs, {last.seconds:.0f} s",
                  flush=True)


if __name__ == "__main__":
    sys.exit(main())
