"""On a CUDA GPU: training to 0.999 of the optimum, rounds of every size, 10^8 stock-snapshots, and the memory's floor.

The processor beside it is that of the same machine, with 1 thread or all of its cores, whichever is sooner. The update
is measured on one large minibatch of stock rows, forward, backward and optimizer step, and held against two floors,
both computed from the bandwidth that a plain copy attains on the same device:

- of its operations: each of them reads its inputs and writes its outputs once, as unfused tensor operations have to;
- of its data: rows, actions, advantages are read once and nothing else moves, as one fused kernel could at best.

    python benchmarks/gpu.py                  needs a CUDA GPU; without one it says so and ends with status 2;
                                              recorded in RESULTS.md, and the rounds in gpu.csv
    python benchmarks/gpu.py --device cpu     the same code on the processor, tiny, printed and not recorded
"""
from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from results import table, write_section

from eod_exit_ppo import ExactOptimum, FactorizedPPOEOD, IntradayPanel, PPOConfig, payoff
from eod_exit_ppo.data import day_blocks
from eod_exit_ppo.machine import has_bf16
from eod_exit_ppo.ppo import minibatch_step, minibatches
from eod_exit_ppo.rollout import chunk_rows

COMMAND, FILE = "python benchmarks/gpu.py", Path(__file__).with_name("gpu.csv")


def clock(device) -> float:
    "Now, after everything that was asked of the device is done."
    if device.type == "cuda": torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds_of(f, device, repeats: int) -> float:
    "Median time of a call."
    for _ in range(3): f()
    spent = []
    for _ in range(repeats):
        start = clock(device)
        f()
        spent.append(clock(device) - start)
    return statistics.median(spent)


def bandwidth(device, megabytes: int) -> float:
    "Bytes a second that a plain copy moves; each byte is read and written."
    x = torch.ones(megabytes * 2**18, device=device)
    y = torch.empty_like(x)
    return 2 * x.numel() * 4 / seconds_of(lambda: y.copy_(x), device, 20)


# ---- training ----
LARGER = dict(rollouts_per_epoch=64, batch_size=128)  # eight times the days in as many updates


def market(small: bool, D: int = 300, N: int = 800, test: int = 100):
    "Days to train on, days to judge, and what the optimum earns on those."
    if small: D, N, test = 60, 50, 20
    train, days = IntradayPanel.synthetic(D=D, N=N).split(D - test)
    return train, days, payoff(days, ExactOptimum.synthetic(D=D, N=N).exit_steps(days)).mean()


def training(of, config, seed: int, device, every: int = 1) -> dict:
    "Seconds of training (looks at the test days not counted) to 0.99 and 0.999 of the optimum, and the last share."
    train, days, best = of
    start = clock(device)
    agent = FactorizedPPOEOD.from_panel(train, days, config=config, seed=seed, device=device)
    opened, curve = clock(device) - start, []
    def look(agent):
        if (done := len(agent.history)) % every and done < config.epochs: return
        share = payoff(days, agent.policy.exit_steps(days)).mean() / best
        curve.append((float(agent.history.seconds.sum()), float(share)))
    agent.train(progress=False, callback=look)
    first = {level: next((s for s, share in curve if share >= level), None) for level in (0.99, 0.999)}
    return dict(first=first, share=curve[-1][1], seconds=curve[-1][0], opened=opened, agent=agent)


def spread(found) -> str:
    "Mean, least and most of what was reached."
    there = [v for v in found if v is not None]
    often = f" ({len(there)} of {len(found)})" if len(there) < len(found) else ""
    if len(there) < 2: return f"{there[0]:.2f}{often}" if there else "never"
    return f"{np.mean(there):.2f}, {min(there):.2f} to {max(there):.2f}{often}"


def settings(small: bool, precision: str, **changes) -> PPOConfig:
    return PPOConfig(precision=precision, eval_every=10**9, **changes, **(dict(epochs=4) if small else {}))


def all_training(device, precisions, seeds: int, small: bool) -> list[dict]:
    of, rows = market(small), []
    tried = [("default", device, p, {}) for p in precisions]
    tried += [("64 days, 128 steps", device, p, LARGER) for p in precisions]
    tried += [("two columns, 64 days, 128 steps", device, "float32", dict(features="level", **LARGER))]
    if device.type != "cpu": tried.insert(0, ("default", torch.device("cpu"), "float32", {}))
    for name, where, precision, changes in tried:
        training(market(True), settings(True, precision, **changes), 0, where)  # the first call starts the libraries
        found = [training(of, settings(small, precision, **changes), seed, where, 3) for seed in range(seeds)]
        rows.append({"settings": name, "on": "GPU" if where.type == "cuda" else "processor", "precision": precision,
                     "share at the end": f"{np.mean([f['share'] for f in found]):.5f}",
                     "worst": f"{min(f['share'] for f in found):.5f}",
                     "s to 0.99": spread([f["first"][0.99] for f in found]),
                     "s to 0.999": spread([f["first"][0.999] for f in found]),
                     "s in all": spread([f["seconds"] for f in found])})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


# ---- rounds of every size ----
def seconds_of_a_round(device, precision: str, N: int, width: int, threads: int, rounds: int) -> tuple[float, int]:
    "Median time of a round of 8 days whose stocks nearly all hold, the first not counted; and its rows."
    config = PPOConfig(precision=precision, hidden=width, initial_exit=0.001, lr=1e-9, eval_every=10**9,
                       refresh_until=0, epochs=rounds + 1)
    panel = IntradayPanel.synthetic(D=16, N=N)
    agent = FactorizedPPOEOD.from_panel(panel, config=config, device=device, threads=threads)
    agent.train(progress=False)
    return statistics.median(agent.history.seconds[1:]), len(agent._sample.stock)


def all_rounds(device, precisions, small: bool) -> list[dict]:
    sizes = [(50, 16)] if small else [(800, 32), (5000, 32), (20000, 32), (800, 256), (5000, 256)]
    rows, cpu = [], torch.device("cpu")
    for N, width in sizes:
        own, count = min(seconds_of_a_round(cpu, "float32", N, width, threads, 3)
                         for threads in {1, os.cpu_count() or 1})
        row = {"stocks": f"{N:,}", "width": width, "rows": f"{count:,}", "processor (ms)": f"{1000 * own:.1f}"}
        for p in precisions:
            took, _ = seconds_of_a_round(device, p, N, width, 1, 10)
            row |= {f"{p} (ms)": f"{1000 * took:.1f}", f"{p}: times as fast": f"{own / took:.1f}"}
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    return rows


# ---- a large panel ----
def large(device, precision: str, small: bool) -> dict:
    "One training on 10^8 stock-snapshots, whose features are made on the processor round by round; then all is judged."
    of = train, _, _ = market(small, D=2520, N=5000, test=20)
    if device.type == "cuda": torch.cuda.reset_peak_memory_stats(device)
    got = training(of, settings(small, precision), 0, device, every=5)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    features, policy = got["agent"].features, got["agent"].policy
    eight = train[:8]
    made = seconds_of(lambda: features(eight), torch.device("cpu"), 5)
    start, paid = clock(device), []
    for days in day_blocks(train.shape, 2**21): paid.append(payoff(train[days], policy.exit_steps(train[days])).sum())
    judged = clock(device) - start
    assert np.isfinite(paid).all()
    return {"precision": precision, "stock-snapshots": f"{np.prod(train.shape):,}", "open (s)": f"{got['opened']:.2f}",
            "s to 0.99": spread([got["first"][0.99]]), "s to 0.999": spread([got["first"][0.999]]),
            "s in all": f"{got['seconds']:.2f}", "share at the end": f"{got['share']:.5f}",
            "a round (ms)": f"{1000 * got['agent'].history.seconds.median():.0f}",
            "its features (ms)": f"{1000 * made:.0f}", "peak on the GPU (MB)": f"{peak / 1e6:.0f}",
            "decide and judge all (s)": f"{judged:.1f}"}


# ---- the update ----
def floors(rows: int, G: int, F: int, H: int, K: int, size: int) -> tuple[int, int]:
    """Bytes that an update has to move: (its operations one by one, its data alone).

    `size` is the width of a hidden number in bytes (4, or 2 in bfloat16), G the number of books in a chunk: up to 32 a
    row's book comes in by a one-hot of G columns, beyond it is looked up. What runs once a step, and the weights, are
    left out: they are small."""
    hot = G <= 32
    first = F + G if hot else F
    gather = 2 * F * size + 5 * 2 * 4  # the minibatch is collected: features; action, logp, adv, ret, weight
    cat = 2 * first * size if hot else 0
    forward = (first + H) * size + (0 if hot else 3 * H * size)   # layer 1; a looked-up book is read, written, added
    forward += 2 * H * size + 2 * H * size + 2 * H * size         # its relu in place; layer 2; its relu in place
    forward += (H * size + H * 4 if size < 4 else 0) + H * 4 + K * 4  # to float32 for the head; the head
    loss = 2 * 15 * 4                                             # about fifteen numbers a row, there and back
    backward = K * 4 + H * 4 + (H * 4 + H * size if size < 4 else 0)  # into the head, and down to the hidden dtype
    backward += H * 4 + K * 4                                     # weights of the head
    backward += 3 * H * size + H * size                           # relu 2, sum for the bias
    backward += 2 * H * size + 2 * H * size                       # weights of layer 2, into layer 1
    backward += 3 * H * size + (first + H) * size                 # relu 1, weights of layer 1
    if not hot: backward += 2 * H * size                          # added up by book
    return rows * (gather + cat + forward + loss + backward), rows * (F * size + 5 * 4)


def update(device, precision: str, width: int, small: bool) -> dict:
    "One step of the optimizer on a rollout whose stocks nearly all hold, so that all of them act at every snapshot."
    D, T, N = (4, 4, 50) if small else (64, 8, 4000)
    config = PPOConfig(precision=precision, hidden=width, initial_exit=0.001, eval_every=10**9, batch_size=D * T)
    agent = FactorizedPPOEOD.from_panel(IntradayPanel.synthetic(D=D, T=T, N=N), config=config, device=device)
    agent.train(epochs=1, progress=False)
    if device.type == "cuda": torch.cuda.reset_peak_memory_stats(device)
    ro = agent.rollout_days(np.arange(D))
    credit, offsets = agent.compute_gae(ro), ro.offsets
    usable = torch.arange(len(ro.context), device=device)[offsets.diff() > 0]
    steps = usable[: 16 * (len(usable) // 16)] if len(usable) >= 16 else usable
    config = replace(config, lr=1e-9)
    for group in agent.optimizer.param_groups: group["lr"] = 1e-9
    def one():
        for mb in minibatches(ro, credit, steps, len(steps)):
            minibatch_step(agent.model, agent.optimizer, mb, config, 0.0)
    took = seconds_of(one, device, 3 if small else 20)
    rows = int((offsets[steps + 1] - offsets[steps]).sum())
    K, F = 2, ro.stock.shape[1]
    books = max(1, min(len(steps), chunk_rows(width, device) // N))
    by_operation, by_data = floors(rows, books, F, width, K, ro.stock.element_size())
    flops = rows * 2 * (2 * F * width + 3 * width**2 + 3 * K * width)
    return dict(rows=rows, seconds=took, by_operation=by_operation, by_data=by_data, flops=flops,
                peak=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0)


def all_updates(device, precisions, copy: float, small: bool) -> list[dict]:
    out = []
    for precision in precisions:
        for width in ((16,) if small else (64, 256, 1024)):
            u = update(device, precision, width, small)
            out.append({"precision": precision, "width": width, "rows": f"{u['rows']:,}",
                        "update (ms)": f"{1000 * u['seconds']:.2f}",
                        "floor of its operations (ms)": f"{1000 * u['by_operation'] / copy:.2f}",
                        "times the floor": f"{u['seconds'] * copy / u['by_operation']:.2f}",
                        "floor of its data (ms)": f"{1000 * u['by_data'] / copy:.3f}",
                        "TFLOP/s": f"{u['flops'] / u['seconds'] / 1e12:.2f}", "peak (MB)": f"{u['peak'] / 1e6:.0f}"})
    return out


def report(device, seeds: int, small: bool) -> str:
    precisions = [p for p in ("float32", "bf16") if p == "float32" or has_bf16(device)]
    copy = bandwidth(device, 16 if small else 1024)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor, tiny sizes"
    parts = [f"{name}; a plain copy moves {copy / 1e9:.0f} GB/s, reading and writing."]
    def add(words, rows):
        parts.append(f"{words}\n\n{table(rows)}")
        print(parts[-1], file=sys.stderr, flush=True)
    add("**One step of the optimizer** over all rows of a rollout, against the floors that memory traffic sets:",
        all_updates(device, precisions, copy, small))
    add("**A round** (8 days simulated, one pass of updates) in which nearly all stocks hold, default recipe, on the "
        "processor (1 thread or all, the sooner) and on the GPU:", rounds := all_rounds(device, precisions, small))
    add(f"**Training**, default data, {seeds} seeds (mean, least to most), as a share of the exact optimum on the "
        "held-out days:", all_training(device, precisions, seeds, small))
    add("**A large panel**, default recipe and market, one seed; features are made on the processor, a round at a "
        "time, and judged are 20 further days:", [large(device, p, small) for p in precisions])
    if device.type == "cuda": pd.DataFrame([{"GPU": name, **row} for row in rounds]).to_csv(FILE, index=False)
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; cpu is a trial run, tiny and not recorded")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA GPU here, or this torch was built without CUDA: nothing was measured", file=sys.stderr)
        sys.exit(2)
    if device.type == "cpu": print(report(device, 1, True))
    else: print(write_section("On a GPU", COMMAND, report(device, args.seeds, False), 1))


if __name__ == "__main__": main()
