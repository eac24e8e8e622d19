"""What the number of torch's threads costs a training and its decisions, alone and beside other work.

The package sets its own number (`threads=`, 1 by default) while it trains and decides, and puts the caller's back. Here
the same agent is given all cores, or eight threads, as it would have them by a caller's torch.set_num_threads without
that. First nothing else runs, then one busy process per core. The ways take turns in one run; medians of three turns.

    python benchmarks/threads.py            40 epochs on the first 200 default days; recorded in RESULTS.md
    python benchmarks/threads.py --quick    2 epochs on small days, one turn, printed and not recorded
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from statistics import median

import torch
from results import table, write_section

from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig

CORES = os.cpu_count() or 1


@contextmanager
def busy(n: int):
    "As many processes that do nothing but work, while this lasts."
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try: yield
    finally:
        for other in others: other.kill()
        for other in others: other.wait()


def seconds(days: IntradayPanel, threads: int, epochs: int) -> tuple[float, float]:
    "Of a training, and of deciding all of its days."
    agent = FactorizedPPOEOD.from_panel(days, config=PPOConfig(epochs=epochs, eval_every=10**6), threads=threads)
    start = time.perf_counter()
    agent.train(progress=False)
    trained = time.perf_counter()
    agent.policy.exit_steps(days)
    return trained - start, time.perf_counter() - trained


def measure(days, ways: list[int], epochs: int, turns: int) -> dict[int, tuple[float, float]]:
    "threads -> medians of the seconds; the ways take turns."
    found = {n: [] for n in ways}
    for _ in range(turns):
        for n in ways: found[n].append(seconds(days, n, epochs))
    return {n: tuple(map(median, zip(*each))) for n, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing recorded")
    quick = parser.parse_args().quick
    days = IntradayPanel.synthetic(D=8, N=50) if quick else IntradayPanel.synthetic()[:200]
    epochs, turns = (2, 1) if quick else (40, 3)
    ways, before, rows = sorted({1, CORES, 8}), torch.get_num_threads(), []
    seconds(days, 1, 1)  # what is loaded late is no training
    for load in (0, CORES):
        with busy(load): found = measure(days, ways, epochs, turns)
        for n, (train, decide) in found.items():
            rows.append({"beside": f"{load} busy processes" if load else "nothing",
                         "threads": f"{n}{' (own)' * (n == 1)}",
                         "training (s)": f"{train:.2f}", "times one thread": f"{train / found[1][0]:.1f}",
                         "deciding (s)": f"{decide:.2f}", "times one thread's": f"{decide / found[1][1]:.1f}"})
    assert torch.get_num_threads() == before  # the caller's number is as it was
    text = (f"{epochs} epochs of the default recipe on {days.D} days of {days.N} stocks, then the decisions of these "
            f"days; median of {turns}, the ways in turn. The caller's own number of threads, {before}, was the same "
            f"after every call.\n\n{table(rows)}")
    print(text if quick else write_section("Threads", "python benchmarks/threads.py", text, before))


if __name__ == "__main__":
    main()
