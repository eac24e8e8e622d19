"""How long one decision of the live day takes: from a list of new prices to the table of what to exit now.

Each day is simulated from the first snapshot to the last but one (at the close there is nothing to decide). The policy
is started so that it holds nearly everything (exit probability 0.001), so every stock is decided at every snapshot: the
most that a decision can cost. Prices come as a Series by ticker, a new one each time. "With a file" writes the journal,
and waits until it is on the disk, before the answer is given. "Within limits" has limits of the book beside that file.
"Policy alone" is exit_probability on a panel that is ready.

    python benchmarks/live.py            5,000 stocks, one thread; recorded in RESULTS.md
    python benchmarks/live.py --quick    500 stocks, few days, printed and not recorded
"""
from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from results import table, write_section

from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig
from eod_exit_ppo.limits import Limits
from eod_exit_ppo.live import LiveDay

TARGET = 10  # ms
RECIPES = dict(default=PPOConfig(initial_exit=0.001), joint=PPOConfig.joint(initial_exit=0.001))


def policy_of(recipe: str, T: int):
    "A policy of this recipe that holds nearly everything; its statistics are those of a small panel."
    agent = FactorizedPPOEOD.from_panel(IntradayPanel.synthetic(D=8, T=T, N=200), config=RECIPES[recipe])

    return agent.policy


def days(policy, N: int, T: int, n: int, folder: Path | None):
    "Milliseconds of each decision, (n, T-1), and of the policy alone."
    rng, spent, alone = np.random.default_rng(0), np.empty((n, T - 1)), np.empty((n, T - 1))
    market = IntradayPanel.synthetic(D=1, T=T, N=N)
    tickers = [f"S{i:05d}" for i in range(N)]
    closes = pd.Series(rng.uniform(10, 500, N), tickers)
    held = np.ones(N, bool)
    for k in range(n):
        day = LiveDay(policy, tickers, market.signals[0], market.weights[0], times=market.times, prior_close=closes,
                      path=None if folder is None else folder / f"day{k}")
        for t in range(T - 1):
            prices = pd.Series(closes.to_numpy() * (1 + market.returns[0, t]), list(tickers))
            start = time.perf_counter()
            day.decide(market.times[t], prices)
            spent[k, t] = 1000 * (time.perf_counter() - start)
            so_far, start = day.panel, time.perf_counter()
            policy.exit_probability(so_far, held, t)
            alone[k, t] = 1000 * (time.perf_counter() - start)
    return spent[1:], alone[1:]  # the first day warms up


def row(name: str, ms: np.ndarray) -> dict:
    return {"": name, "least": f"{ms.min():.1f} ms", "median": f"{np.median(ms):.1f} ms",
            "p99": f"{np.quantile(ms, 0.99):.1f} ms",
            "worst": f"{ms.max():.1f} ms",
            "first snapshot": f"{np.median(ms[:, 0]):.1f} ms",
            "last but one": f"{np.median(ms[:, -1]):.1f} ms"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small, printed and not recorded")
    parser.add_argument("--stocks", type=int, default=5000)
    parser.add_argument("--snapshots", type=int, default=13)
    parser.add_argument("--days", type=int, default=40, help="fewer than 30: printed and not recorded")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.quick: args.stocks, args.days = min(args.stocks, 500), 4
    torch.set_num_threads(args.threads)
    gc.disable()  # a decision is not where garbage is collected; a process can do so between two snapshots
    rows, reached = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for recipe in RECIPES:
            policy = policy_of(recipe, args.snapshots)
            found, within = {}, policy.limited(Limits(max_net=0.01, max_share=0.2))
            for what, one, file in (("", policy, False), (", with a file", policy, True),
                                    (", with a file, within limits", within, True)):
                at = Path(folder) if file else None
                ms, _ = found[what] = days(one, args.stocks, args.snapshots, args.days + 1, at)
                for f in Path(folder).iterdir(): f.unlink()
                rows.append(row(recipe + " recipe" + what, ms))
                reached[rows[-1][""]] = np.median(ms)
                gc.collect()
            rows.append(row(f"{recipe} recipe, policy alone", found[""][1]))
    met = "; ".join(k for k, v in reached.items() if v <= TARGET) or "none"
    text = (f"One decision for {args.stocks:,} stocks, {args.snapshots} snapshots a day, {args.days} days: from a "
            f"Series of prices to the table of exits, nearly every stock still held.\n\n{table(rows)}\n\n"
            f"Median of at most {TARGET} ms: {met}.")
    if args.quick or args.days < 30: return print(text)
    print(write_section("Decisions during the day", "python benchmarks/live.py", text, args.threads))


if __name__ == "__main__": main()
