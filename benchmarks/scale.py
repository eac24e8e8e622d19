"""How time and memory grow with days, snapshots, stocks and width; decisions during the day; what bfloat16 costs.

Every point is measured in a process of its own, on a panel whose arrays are memory-mapped files in a temporary folder.
The policy is started so that it holds nearly everything (exit probability 0.001) and hardly learns: every stock acts at
every snapshot, which is the most that an epoch can cost. An epoch is one round of as many days as the default recipe's.
(With --quick only the decisions have a process of their own: most of a small point would be its imports.)

Memory is what the process itself holds (RssAnon of /proc/self/status, read every 2 ms, largest value): pages of the
mapped files are not counted, because the kernel drops them whenever somebody else needs the room.

    python benchmarks/scale.py            everything, to 10^8 stock-snapshots (needs 520 MB of disk; some minutes)
    python benchmarks/scale.py --quick    small sizes, printed and not recorded
"""
from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from results import table, write_section

BASE = dict(D=200, T=8, N=1000, width=64)
FULL = dict(D=[200, 800, 3200, 12800], T=[4, 8, 16, 32, 78, 390], N=[500, 1000, 2000, 4000, 10000, 20000],
            width=[32, 64, 128, 256])
QUICK = dict(D=[32, 64], T=[4, 40], N=[100, 200], width=[16, 32])
MOST = 16_000_000  # stock-snapshots of a panel where days are not the axis: long days and large books get fewer
STOCKS = 5000, 20000  # of a decision
WORDS = dict(D="days", T="snapshots", N="stocks", width="width")


# ---- one point, in a process of its own ----
def write_panel(folder: Path, D: int, T: int, N: int, block: int = 64) -> None:
    "Signals, weights and returns as .npy files, written a few days at a time."
    rng, files = np.random.default_rng(0), {}
    for name, shape in dict(signals=(D, N), weights=(D, N), returns=(D, T, N)).items():
        files[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape)
    for start in range(0, D, block):
        days = slice(start, min(start + block, D))
        signal = rng.standard_normal((days.stop - start, N), np.float32)
        files["signals"][days] = files["weights"][days] = signal
        noise = rng.standard_normal((len(signal), T, N), np.float32)
        realized = np.linspace(0.1, 1, T, dtype=np.float32)[:, None]
        files["returns"][days] = 0.01 * noise + 0.02 * signal[:, None] * realized
    for f in files.values(): f.flush()


class Peak:
    "Most memory of its own that this process has held between two calls, in bytes; 0 where the system does not tell."

    def __init__(self):
        self.most, self.done = self.now(), threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    @staticmethod
    def now() -> int:
        try: lines = Path("/proc/self/status").read_text().splitlines()
        except OSError: return 0
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)

    def watch(self):
        while not self.done.wait(0.002): self.most = max(self.most, self.now())

    def stop(self) -> int:
        self.done.set()
        self.thread.join()
        return max(self.most, self.now())


def point(args) -> dict:
    "Open a panel, train some epochs, and decide and judge every day of it."
    from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig, payoff
    from eod_exit_ppo import agent as agent_module
    from eod_exit_ppo.data import day_blocks
    agent_module._KEPT = 0  # small panels are otherwise kept ready as features: the same work at every size
    config = PPOConfig(hidden=args.width, initial_exit=0.001, lr=1e-9, lr_schedule="constant", refresh_until=0,
                       ent_coef=0.0, eval_every=10**9, epochs=args.epochs + 1, batch_size=args.batch or None)
    before, peak = Peak.now(), Peak()
    start = time.perf_counter()
    arrays = {k: np.load(Path(args.folder) / f"{k}.npy", mmap_mode="r") for k in ("signals", "weights", "returns")}
    agent = FactorizedPPOEOD.from_panel(panel := IntradayPanel(**arrays), config=config)
    opened = time.perf_counter() - start
    agent.train(progress=False)
    seconds, opened_peak = agent.history.seconds.to_numpy()[1:], peak.stop()
    peak, policy, start, paid = Peak(), agent.policy, time.perf_counter(), 0.0
    if args.judge:
        for days in day_blocks(panel.shape, 2**21): paid += payoff(panel[days], policy.exit_steps(panel[days])).sum()
    judged = time.perf_counter() - start
    assert math.isfinite(paid)
    rows = len(agent._sample.stock)
    return dict(a_pass=panel.D / config.rollouts_per_epoch, opened=opened, epoch=statistics.median(seconds),
                least=min(seconds), most=max(seconds), judged=judged, rows=rows, before=before,
                batch=config.of_days(panel.T).batch_size, peak=max(opened_peak, peak.stop()))


def decisions(args) -> dict:
    "Milliseconds from a new quote of every stock to every stock's exit probability, days lived one after the other."
    from eod_exit_ppo import FactorizedPPOEOD, IntradayPanel, PPOConfig
    train, days = IntradayPanel.synthetic(D=8, N=200), IntradayPanel.synthetic(D=args.repeats + 10, N=args.N)
    agent = FactorizedPPOEOD.from_panel(train, config=PPOConfig(epochs=2, eval_every=100))
    agent.train(progress=False)
    policy, held, out, checks = agent.policy, np.ones(args.N, bool), {}, []
    for k in range(days.D):
        day = days[k]
        for t in range(day.T - 1):
            returns = np.where(np.arange(day.T)[:, None] > t, np.nan, day.returns)
            start = time.perf_counter()
            known = IntradayPanel(day.signals, returns, day.weights)
            made = time.perf_counter()
            p = policy.exit_probability(known, held, t)
            spent = 1000 * (time.perf_counter() - made)
            assert p.shape == (args.N,) and p.dtype == np.float64 and (p > 0).any()
            if k < 10: continue  # to get warm
            out.setdefault(day.times[t], []).append(spent)
            checks.append(1000 * (made - start))
    return dict(ms=out, panel=statistics.median(checks))


def halves(args) -> dict:
    "Share of the optimum and time of an epoch in one precision, default data; seconds of an update at a larger width."
    from eod_exit_ppo import ExactOptimum, FactorizedPPOEOD, IntradayPanel, PPOConfig, payoff
    days = IntradayPanel.synthetic(D=24, N=50) if args.quick else IntradayPanel.synthetic()
    train, test = days.split(days.D * 2 // 3)
    best, shares, seconds = payoff(test, ExactOptimum.synthetic().exit_steps(test)).mean(), [], []
    config = PPOConfig(precision=args.precision, eval_every=1000, epochs=args.rounds or PPOConfig().epochs)
    for seed in range(args.seeds):
        agent = FactorizedPPOEOD.from_panel(train, test, seed=seed, config=config)
        agent.train(progress=False)
        shares.append(payoff(test, agent.policy.exit_steps(test)).mean() / best)
        seconds.append(float(agent.history.seconds.sum()))
    agent = FactorizedPPOEOD.from_panel(train[:32], config=replace(config, hidden=256, epochs=3))
    agent.train(progress=False)
    return dict(shares=shares, seconds=seconds, wide=float(agent.history.seconds.min()))


PARTS = dict(point=point, decisions=decisions, halves=halves)


# ---- all points ----
def apart(what: str, args, **more) -> dict:
    command = [sys.executable, __file__, "--part", what, "--threads", str(args.threads),
               "--epochs", str(args.epochs)]
    for name, value in more.items(): command += [f"--{name}", str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(what: str, args, **more) -> dict:
    return PARTS[what](argparse.Namespace(**vars(args) | more)) if args.quick else apart(what, args, **more)


def exponent(x, y, last: int = 0) -> float:
    "Slope of log y in log x, over all points or the last ones."
    return float(np.polyfit(np.log(x[-last:]), np.log(y[-last:]), 1)[0])


def sweep(args, sizes) -> dict:
    """Each axis in turn, the others at their base; one panel at a time in a folder.

    Days so long that the recipe takes larger minibatches are measured with those of shorter days, too."""
    from eod_exit_ppo.config import VERY_LONG_DAY, PPOConfig
    base, found = BASE | ({k: v[0] for k, v in sizes.items()} if args.quick else {}), {}
    for axis, values in sizes.items():
        found[axis] = []
        for value in values:
            at = {**base, axis: value}
            if axis != "D": at["D"] = min(at["D"], MOST // (at["T"] * at["N"]))
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                write_panel(Path(folder), at["D"], at["T"], at["N"])
                for batch in (0, PPOConfig().of_days(1).batch_size) if at["T"] > VERY_LONG_DAY else (0,):
                    got = measure("point", args, folder=folder, width=at["width"], judge=int(axis == "D"), batch=batch)
                    found[axis].append({**at, **got})
                    about = f"{got['epoch']:.3f} s an epoch, {got['peak'] / 1e6:.0f} MB"
                    print(f"{axis} = {value}: {about}", file=sys.stderr)
    return found


def axis_table(axis, points) -> str:
    rows = []
    for p in points:
        row = {WORDS[axis]: f"{p[axis]:,}", "stock-snapshots": f"{p['D'] * p['T'] * p['N']:.1e}",
               "epoch (s)": f"{p['epoch']:.3f}", "rows": f"{p['rows']:,}", "peak (MB)": f"{p['peak'] / 1e6:.0f}"}
        if axis == "T": row |= {"minibatch": p["batch"]}
        if axis == "D": row |= {"open (s)": f"{p['opened']:.2f}", "decide all (s)": f"{p['judged']:.2f}",
                                "pass (s)": f"{p['a_pass'] * p['epoch']:.1f}"}
        rows.append(row)
    return table(rows)


def few(points) -> str:
    "Which points have fewer days."
    less = [f"{p['D']} at {p['T']} snapshots of {p['N']:,} stocks" for p in points if p["D"] < points[0]["D"]]
    return f" Panels have {points[0]['D']} days, but {', '.join(dict.fromkeys(less))}." if less else ""


def longer(points, batch) -> str:
    "What is otherwise on days so long that the recipe's minibatches are larger."
    from eod_exit_ppo.config import VERY_LONG_DAY
    larger = {p["batch"] for p in points} - {batch}
    return (f"{few(points)} Above {VERY_LONG_DAY} snapshots the recipe's open settings become lambda 0.95 and "
            f"minibatches of {larger.pop()} steps instead of {batch}, so that a round has fewer updates. Both are "
            f"shown there, the recipe's first; the powers are those of {batch}.") if larger else few(points)


def about_decisions(live) -> str:
    "A table with a row per snapshot and two columns per number of stocks."
    rows, calls = {}, 0
    for n, part in live.items():
        every = [x for spent in part["ms"].values() for x in spent]
        calls = len(every)
        for t, spent in [*part["ms"].items(), ("all", every)]:
            rows.setdefault(t, {"snapshot": t}).update({
                f"{n:,} stocks: median (ms)": f"{np.median(spent):.2f}",
                f"{n:,}: 99th percentile (ms)": f"{np.percentile(spent, 99):.2f}"})
    checks = " and ".join(f"{part['panel']:.2f}" for part in live.values())
    return (f"**Decisions.** `policy.exit_probability` for all stocks, held, at one snapshot, default features and "
            f"width, {calls} calls, day after day from its first snapshot on. Making and checking the panel, "
            f"at each snapshot, takes {checks} ms more.\n\n" + table(list(rows.values())))


def report(found, live, precisions, args) -> str:
    parts, days = [], found["D"]
    size = [p["D"] for p in days]
    flat = max(p["peak"] for p in days) / min(p["peak"] for p in days)
    parts.append(
        f"**Days.** {BASE['N']} stocks, {BASE['T']} snapshots. Time of an epoch grows with D to the power "
        f"{exponent(size, [p['epoch'] for p in days]):.2f}; opening (every number is checked, and the unit of reward "
        f"found) {exponent(size, [p['opened'] for p in days], 2):.2f} over the last two sizes, deciding and judging "
        f"all days {exponent(size, [p['judged'] for p in days]):.2f}, a training pass over all days "
        f"({days[0]['a_pass']:.0f} epochs for {size[0]} days) "
        f"{1 + exponent(size, [p['epoch'] for p in days]):.2f}. The largest peak of memory is {flat:.2f} times the "
        f"smallest; before the panel is opened the process holds {days[0]['before'] / 1e6:.0f} MB.\n\n"
        + axis_table("D", days))
    for axis in ("T", "N", "width"):
        same = [p for p in found[axis] if p["batch"] == days[0]["batch"]]
        x, y, peak = ([p[k] for p in same] for k in (axis, "epoch", "peak"))
        end = f", {exponent(x, y, 2):.2f} over the last two sizes" if len(x) > 2 else ""
        note = {"T": longer(found["T"], days[0]["batch"]), "N": few(found["N"]),
                "width": " The second layer's arithmetic grows with its square."}[axis]
        parts.append(f"**{WORDS[axis].capitalize()}.** Time grows to the power {exponent(x, y):.2f}{end}; memory to "
                     f"{exponent(x, peak):.2f}.{note}\n\n" + axis_table(axis, found[axis]))
    parts.append(about_decisions(live))
    if precisions:
        rows = [{"precision": k, "share of the optimum": f"{np.mean(v['shares']):.5f}",
                 "by seed": " ".join(f"{s:.4f}" for s in v["shares"]), "training (s)": f"{np.mean(v['seconds']):.2f}",
                 "epoch at width 256 (s)": f"{v['wide']:.3f}"} for k, v in precisions.items()]
        parts.append("**bfloat16.** Default data and recipe, judged on the 100 days after the 200 of training, as a "
                     "share of the exact optimum.\n\n" + table(rows))
    else: parts.append("**bfloat16.** Not measured: this processor has no instructions for it.")
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one part, in this process, as JSON")
    parser.add_argument("--quick", action="store_true", help="small sizes, not recorded")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5, help="measured at each point, after one that is not")
    parser.add_argument("--seeds", type=int, default=5, help="of the comparison of precisions")
    parser.add_argument("--folder", default=None, help="where the temporary files go")
    for name, default in (("N", 5000), ("width", 64), ("repeats", 100), ("judge", 0), ("batch", 0), ("rounds", 0)):
        parser.add_argument(f"--{name}", type=int, default=default, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.part:
        print(json.dumps(PARTS[args.part](args)))
        return
    from eod_exit_ppo.machine import has_bf16
    found = sweep(args, QUICK if args.quick else FULL)
    live = {n: apart("decisions", args, N=n, repeats=10 if args.quick else 100)
            for n in ((500,) if args.quick else STOCKS)}
    precisions = {}
    if has_bf16(torch.device("cpu")):
        few = dict(seeds=1, rounds=2) if args.quick else dict(seeds=args.seeds)
        precisions = {p: measure("halves", args, precision=p, **few) for p in ("float32", "bf16")}
    text = report(found, live, precisions, args)
    print(text if args.quick else write_section("Scale", "python benchmarks/scale.py", text, args.threads))


if __name__ == "__main__": main()
