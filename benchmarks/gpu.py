"""On a CUDA GPU: how long training takes to 0.999 of the optimum, and the update against what memory traffic costs.

The update is measured on one large minibatch of stock rows, forward, backward and optimizer step, and held against two
floors, both computed from the bandwidth that a plain copy attains on the same device:

- of its operations: each of them reads its inputs and writes its outputs once, as unfused tensor operations have to;
- of its data: rows, actions, advantages are read once and nothing else moves, as one fused kernel could at best.

    python benchmarks/gpu.py                  needs a CUDA GPU; without one it says so and ends with status 2
    python benchmarks/gpu.py --device cpu     the same code on the processor, tiny, printed and not recorded
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from results import table, write_section

from eod_exit_ppo import ExactOptimum, FactorizedPPOEOD, IntradayPanel, PPOConfig, payoff
from eod_exit_ppo.machine import has_bf16
from eod_exit_ppo.ppo import minibatch_step, minibatches
from eod_exit_ppo.rollout import chunk_rows

COMMAND = "python benchmarks/gpu.py"


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
def training(device, precision: str, seed: int, small: bool) -> dict:
    "Seconds of training (looks at the test days not counted) to 0.99 and 0.999 of the optimum, and the last share."
    shape = dict(D=60, N=50) if small else dict(D=300, N=800)
    train, test = IntradayPanel.synthetic(**shape).split(shape["D"] * 2 // 3)
    best = payoff(test, ExactOptimum.synthetic(**shape).exit_steps(test)).mean()
    config = PPOConfig(precision=precision, eval_every=10**9)
    agent = FactorizedPPOEOD.from_panel(train, test, config=config, seed=seed, device=device)
    curve = []
    def look(agent):
        share = payoff(test, agent.policy.exit_steps(test)).mean() / best
        curve.append((float(agent.history.seconds.sum()), float(share)))
    agent.train(epochs=4 if small else None, progress=False, callback=look)
    first = {level: next((s for s, share in curve if share >= level), None) for level in (0.99, 0.999)}
    return dict(first=first, share=curve[-1][1], seconds=curve[-1][0])


def all_training(device, precisions, seeds: int, small: bool) -> list[dict]:
    rows = []
    for precision in precisions:
        training(device, precision, 0, True)  # the first call starts the libraries
        found = [training(device, precision, seed, small) for seed in range(seeds)]
        def spread(x):
            there = [v for v in x if v is not None]
            often = f" ({len(there)} of {len(x)})" if len(there) < len(x) else ""
            return f"{np.mean(there):.2f}, {min(there):.2f} to {max(there):.2f}{often}" if there else "never"
        rows.append({"precision": precision, "share at the end": f"{np.mean([f['share'] for f in found]):.5f}",
                     "worst": f"{min(f['share'] for f in found):.5f}",
                     "s to 0.99": spread([f["first"][0.99] for f in found]),
                     "s to 0.999": spread([f["first"][0.999] for f in found]),
                     "s in all": spread([f["seconds"] for f in found])})
    return rows


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
    return (f"{name}; a plain copy moves {copy / 1e9:.0f} GB/s, reading and writing.\n\n"
            f"Training, default recipe and data, {seeds} seeds (mean, least to most), as a share of the exact optimum "
            f"on the held-out days:\n\n{table(all_training(device, precisions, seeds, small))}\n\n"
            "One step of the optimizer over all rows of a rollout, against the floors that memory traffic sets:\n\n"
            f"{table(all_updates(device, precisions, copy, small))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; cpu is a trial run, tiny and not recorded")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA GPU here, or this torch was built without CUDA: nothing was measured", file=sys.stderr)
        sys.exit(2)
    if device.type == "cpu": print(report(device, 1, True))
    else: print(write_section("On a GPU", COMMAND, report(device, args.seeds, False), torch.get_num_threads()))


if __name__ == "__main__": main()
