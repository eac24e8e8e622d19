"""Where the time of an update goes: its share of the machine's matrix rate, by width, and what torch.compile would win.

An update of the default recipe is taken apart by torch's profiler: products of matrices, the elementwise steps of
layers and loss, moving rows, the optimizer, and what is left: Python and torch's own cost of a call. Then the same
training twice, as it is and with its layers compiled, start-up included.

    python benchmarks/update.py            recorded in RESULTS.md; about two minutes on one core
    python benchmarks/update.py --quick    small days, one repeat, nothing compiled; printed and not recorded
"""
from __future__ import annotations

import argparse
import statistics
import time

import torch
from epoch import update_flops
from results import table, write_section
from torch.profiler import ProfilerActivity, profile

from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig, ppo
from eod_exit_ppo.rollout import chunk_rows

GROUPS = {
    "products of matrices": ("aten::mm", "aten::addmm", "aten::linear", "aten::bmm", "aten::mv", "aten::addmv"),
    "moving rows": ("aten::index", "aten::index_select", "aten::cat", "aten::gather", "aten::scatter_", "aten::copy_",
                    "aten::index_add_", "aten::index_put_", "aten::_index_put_impl_", "aten::repeat_interleave",
                    "aten::index_select_backward", "aten::slice_backward", "aten::fill_", "aten::index_add",
                    "aten::contiguous", "aten::clone"),
    "optimizer": ("aten::_fused_adam_", "aten::_foreach_norm", "aten::_foreach_mul_", "aten::_foreach_add_"),
}


def rate(H: int, repeats: int) -> float:
    "FLOP/s of the second layer's product at a chunk of the package's size."
    R = chunk_rows(H, torch.device("cpu"))
    a, b, c = torch.randn(R, H), torch.randn(H, H), torch.empty(R, H)
    calls, seconds = max(1, int(1e9 / (2 * R * H * H))), []
    for _ in range(5 * repeats):
        start = time.perf_counter()
        for _ in range(calls): torch.mm(a, b, out=c)
        seconds.append((time.perf_counter() - start) / calls)
    return 2 * R * H * H / statistics.median(seconds)


def update(days: IntradayPanel, H: int, repeats: int) -> dict:
    "Median seconds of an update, its arithmetic, and the share of each group of operations."
    agent = FactorizedPPOEOD.from_panel(days, config=PPOConfig(hidden=H))
    agent.train(epochs=1, progress=False)
    ro = agent.rollout_days(torch.arange(agent.config.rollouts_per_epoch) % len(days))
    credit, seconds = agent.compute_gae(ro), []
    for _ in range(5 * repeats):
        start = time.perf_counter()
        agent.ppo_update(ro, credit)
        seconds.append(time.perf_counter() - start)
    with profile(activities=[ProfilerActivity.CPU]) as prof:
        start = time.perf_counter()
        agent.ppo_update(ro, credit)
        whole = time.perf_counter() - start
    own = {e.key: e.self_cpu_time_total / 1e6 for e in prof.key_averages() if e.key.startswith("aten::")}
    parts = {name: sum(own.pop(key, 0) for key in keys) for name, keys in GROUPS.items()}
    parts["elementwise, forward and back"] = sum(own.values())
    parts["Python and calls"] = max(0.0, whole - sum(parts.values()))
    F, C = ro.stock.shape[1], ro.context.shape[1]
    return dict(seconds=statistics.median(seconds), rows=len(ro.stock), flops=update_flops(
        len(ro.stock), len(ro.context), H, F, C), parts={k: v / whole for k, v in parts.items()})


def training(days: IntradayPanel, compiled: bool) -> dict:
    "Seconds of the first round and of the whole training; payoff of its last round."
    plain = ppo.row_heads
    if compiled: ppo.row_heads = torch.compile(plain, dynamic=True)
    try:
        agent, ends = FactorizedPPOEOD.from_panel(days), []
        start = time.perf_counter()
        agent.train(progress=False, eval_every=10**6, callback=lambda agent: ends.append(time.perf_counter()))
    finally: ppo.row_heads = plain
    rest = statistics.median([b - a for a, b in zip(ends, ends[1:])])
    return {"layers": "compiled" if compiled else "as they are", "first round (s)": f"{ends[0] - start:.2f}",
            "a later round (ms)": f"{1e3 * rest:.1f}", "all rounds (s)": f"{ends[-1] - start:.1f}"}


def report(days: IntradayPanel, repeats: int, quick: bool) -> str:
    rows, parts = [], []
    for H in (32, 256):
        found, most = update(days, H, repeats), rate(H, repeats)
        got = found["flops"] / found["seconds"]
        rows.append({"width": H, "rows": f"{found['rows']:,}", "update (ms)": f"{1e3 * found['seconds']:.1f}",
                     "GFLOP/s": f"{got / 1e9:.0f}", "of one product": f"{most / 1e9:.0f}",
                     "share": f"{got / most:.0%}"})
        parts.append({"width": H, **{k: f"{v:.0%}" for k, v in found["parts"].items()}})
    text = (f"An update of the default recipe on {days.D} days of {days.T} snapshots and {days.N} stocks, one thread, "
            "against the rate of the second layer's product alone. Only the arithmetic that the network needs is "
            f"counted.\n\n{table(rows)}\n\nWhere its time goes, by torch's profiler (which slows small calls down, so "
            f"that the last column is too large rather than too small):\n\n{table(parts)}")
    if quick: return text
    return text + ("\n\n`torch.compile` on the layers of a stock, a whole training of the default recipe, start-up "
                   f"included:\n\n{table([training(days, False), training(days, True)])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing recorded")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    days = IntradayPanel.synthetic(D=8, N=50) if quick else IntradayPanel.synthetic()[:200]
    text = report(days, 1 if quick else 5, quick)
    print(text if quick else write_section("An update", "python benchmarks/update.py", text, 1))


if __name__ == "__main__": main()
