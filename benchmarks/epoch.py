"""An epoch of the specified algorithm: the literal loop against the package, on equal work.

Both run the joint recipe with frozen normalization: 64 days of the default data, 8 snapshots, 800 stocks, of which 128
a step may act, 6 PPO epochs, width 256, float32. The literal loop takes one day and one step at a time, sends all
stocks through the network, and makes one backward pass over everything in each PPO epoch. Each part has a process of
its own.

    python benchmarks/epoch.py
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict

import numpy as np
import torch
from results import peak_memory, table, write_section

SUBSAMPLE, PPO_EPOCHS, WIDTH = 128, 6, 256
CLIP, ENTROPY, VALUE, MAX_NORM, GAMMA, LAM, LR = 0.2, 0.0005, 0.5, 1.0, 1.0, 0.95, 3e-4


# ---- the literal loop: nothing from the package but the data, the features of one step and the network ----
def literal_rollout(model, data, days, rng):
    from eod_exit_ppo import make_features_and_context, normalize_neutral
    signals, returns, weights = data
    T, N = returns.shape[1:]
    steps, payoffs = [], []
    for d in days:
        w, exited, exit_step = normalize_neutral(weights[d]), np.zeros(N, bool), np.full(N, T - 1)
        for t in range(T):
            stock, context = make_features_and_context(signals, returns, d, t, exited, w)
            stock = torch.from_numpy(stock)[None]
            context = torch.tensor(np.append(context, np.float32(t / (T - 1))))[None]
            mask = np.zeros(N, bool)
            mask[rng.choice(N, SUBSAMPLE, replace=False)] = True
            mask &= ~exited & (w != 0) & (t < T - 1)
            with torch.no_grad():
                logits, value = model.forward_policy(stock, context)[0], model.forward_value(context)[0]
                policy = torch.distributions.Bernoulli(logits=logits)
                action = torch.from_numpy((rng.random(N) < policy.probs.numpy()) & mask).float()
                logp = (policy.log_prob(action) * torch.from_numpy(mask)).sum()
            leaves = action.numpy() > 0
            exit_step[leaves], exited[leaves] = t, True
            steps.append((stock, context, action, torch.from_numpy(mask).float(), logp, value))
        payoffs.append(float((w * returns[d, exit_step, np.arange(N)]).sum()))
    return steps, payoffs


def literal_advantages(steps, payoffs, T):
    rewards = (np.array(payoffs) - np.mean(payoffs)) / (np.std(payoffs, ddof=1) + 1e-8)
    adv, ret = np.zeros(len(steps), np.float32), np.zeros(len(steps), np.float32)
    for day, reward in enumerate(rewards):
        A = V = 0.0
        for t in reversed(range(T)):
            k, last = day * T + t, t == T - 1
            value = float(steps[k][-1])
            delta = reward * last + GAMMA * (not last) * V - value
            A, V = delta + GAMMA * LAM * (not last) * A, value
            adv[k], ret[k] = A, A + value
    return torch.from_numpy((adv - adv.mean()) / (adv.std(ddof=1) + 1e-8)), torch.from_numpy(ret)


def literal_update(model, optimizer, steps, adv, ret):
    for _ in range(PPO_EPOCHS):
        logps, entropies, values = [], [], []
        for stock, context, action, mask, *_ in steps:
            policy = torch.distributions.Bernoulli(logits=model.forward_policy(stock, context)[0])
            logps.append((policy.log_prob(action) * mask).sum())
            entropies.append((policy.entropy() * mask).sum())
            values.append(model.forward_value(context)[0])
        ratio = (torch.stack(logps) - torch.stack([s[4] for s in steps])).exp()
        pi = -torch.min(ratio * adv, ratio.clamp(1 - CLIP, 1 + CLIP) * adv).mean()
        loss = pi + VALUE * 0.5 * ((torch.stack(values) - ret) ** 2).mean() - ENTROPY * torch.stack(entropies).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()


def literal(args):
    from eod_exit_ppo import ActorCritic, make_synthetic_data
    data, rng = make_synthetic_data(), np.random.default_rng(0)
    model = ActorCritic(10, 7, WIDTH, generator=torch.Generator().manual_seed(0)).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    clock = Clock()
    steps, payoffs = literal_rollout(model, data, rng.integers(0, len(data[0]), args.days), rng)
    clock("rollout")
    adv, ret = literal_advantages(steps, payoffs, data[1].shape[1])
    clock("advantages")
    literal_update(model, optimizer, steps, adv, ret)
    clock("update")
    return dict(parts=clock.parts, rows=int(sum(s[3].sum() for s in steps)))


# ---- the package ----
class Clock:
    "Seconds since the last call, under a name."

    def __init__(self): self.parts, self.last = {}, time.perf_counter()

    def __call__(self, name):
        now = time.perf_counter()
        self.parts[name], self.last = now - self.last, now


def package(args):
    from eod_exit_ppo.agent import FactorizedPPOEOD
    from eod_exit_ppo.data import IntradayPanel
    from eod_exit_ppo.ppo import PPOConfig
    from eod_exit_ppo.rollout import Days
    config = PPOConfig.joint(hidden=WIDTH, rollouts_per_epoch=args.days, stock_subsample=SUBSAMPLE,
                             ppo_epochs=PPO_EPOCHS)
    agent = FactorizedPPOEOD.from_panel(IntradayPanel.synthetic(), config=config)
    agent.train(epochs=1, progress=False)  # the first epoch also sets the normalization and starts the threads
    rng, runs, rows = np.random.default_rng(0), [], []
    for _ in range(args.repeats):
        days, clock = rng.integers(0, len(agent.panel), args.days), Clock()
        Days.of(agent.panel[days], agent.features, agent.device)  # what a panel too large to keep ready pays each epoch
        clock("features")
        ro = agent.rollout_days(days, SUBSAMPLE)
        clock("rollout")
        credit = agent.compute_gae(ro)
        clock("advantages")
        agent.ppo_update(ro, credit)
        clock("update")
        runs.append(clock.parts)
        rows.append(len(ro.stock))
    middle = sorted(range(args.repeats), key=lambda k: sum(runs[k].values()))[args.repeats // 2]
    spread = [sum(r.values()) for r in runs]
    return dict(parts=runs[middle], rows=rows[middle], steps=len(ro.context), least=min(spread), most=max(spread))


# ---- what the machine can do ----
def update_flops(rows, steps, H=WIDTH, F=10, C=8):
    "Multiplications and additions of one pass over a rollout: forward, backward to weights, and, inside, to inputs."
    a_row = 2 * (2 * F * H + 3 * H * H + 3 * H)
    a_step = 2 * (2 * C * H + 3 * 3 * H * H + 3 * H)  # context 1; context 2, its part of the stocks, value 1; value 2
    return rows * a_row + steps * a_step


def matmul(args):
    "GFLOP/s of a large product, and of the products that an update is made of."
    from eod_exit_ppo.rollout import chunk_rows
    R, out = chunk_rows(WIDTH, torch.device("cpu")), {}
    shapes = {"2048 x 2048 x 2048": (2048,) * 3, f"{R} x {WIDTH} x {WIDTH}": (R, WIDTH, WIDTH),
              f"{WIDTH} x {R} x {WIDTH}": (WIDTH, R, WIDTH), f"{R} x 26 x {WIDTH}": (R, 26, WIDTH)}
    for name, (m, k, n) in shapes.items():
        a, b = torch.randn(m, k), torch.randn(k, n)
        c, seconds = torch.mm(a, b), []
        calls = max(1, int(2e9 / (2 * m * k * n)))
        for _ in range(5 * args.repeats):
            start = time.perf_counter()
            for _ in range(calls): torch.mm(a, b, out=c)
            seconds.append((time.perf_counter() - start) / calls)
        out[name] = 2 * m * k * n / statistics.median(seconds) / 1e9
    return dict(rates=out)


# ---- side by side ----
PARTS = dict(literal=literal, package=package, matmul=matmul)


def apart(part, args):
    "Run one part in a process of its own."
    command = [sys.executable, __file__, "--part", part]
    for name in ("threads", "repeats", "days"): command += [f"--{name}", str(getattr(args, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(found, args):
    loop, own, rates = found["literal"], found["package"], found["matmul"]["rates"]
    seconds = {k: sum(found[k]["parts"].values()) for k in ("literal", "package")}
    parts = defaultdict(str, {k: f"{v:.3f}" for k, v in own["parts"].items()})
    of_loop = defaultdict(lambda: "in rollout", {k: f"{v:.3f}" for k, v in loop["parts"].items()})
    names = ("features", "rollout", "advantages", "update")
    sides = [dict(part=f"{k} (s)", literal=of_loop[k], package=parts[k]) for k in names]
    sides += [dict(part="epoch (s)", literal=f"{seconds['literal']:.1f}", package=f"{seconds['package']:.2f}"),
              dict(part="peak memory (MB)", literal=f"{loop['peak'] / 1e6:.0f}", package=f"{own['peak'] / 1e6:.0f}"),
              dict(part="rows that could act", literal=loop["rows"], package=own["rows"])]
    gflops = PPO_EPOCHS * update_flops(own["rows"], own["steps"]) / own["parts"]["update"] / 1e9
    large = next(iter(rates.values()))
    speed = [dict(what=f"torch.mm {k}", gflops=f"{v:.0f}", share=f"{v / large:.0%}") for k, v in rates.items()]
    speed.append(dict(what="the package's update, all of it", gflops=f"{gflops:.0f}", share=f"{gflops / large:.0%}"))
    ratio = seconds["literal"] / seconds["package"]
    return (f"An epoch of {args.days} days, 8 snapshots, 800 stocks, subsample {SUBSAMPLE}, {PPO_EPOCHS} PPO epochs, "
            f"width {WIDTH}, float32; joint recipe, frozen normalization. The package is **{ratio:.1f} times** as fast "
            f"as the literal loop, in {own['peak'] / loop['peak']:.1%} of its memory (median of {args.repeats} epochs, "
            f"{own['least']:.2f} to {own['most']:.2f} s; one epoch of the loop).\n\n{table(sides)}\n\n"
            "Where the package's time goes, against what the machine's matrix product attains (GFLOP/s; only the "
            f"arithmetic that the network needs is counted):\n\n{table(speed)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="run one part in this process and print it as JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="epochs of the package")
    parser.add_argument("--days", type=int, default=64, help="fewer than 64 for a quick look, which is not recorded")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.part:
        print(json.dumps(dict(PARTS[args.part](args), peak=peak_memory())))
        return
    text = report({part: apart(part, args) for part in ("matmul", "package", "literal")}, args)
    quick = args.days != parser.get_default("days")
    print(text if quick else write_section("An epoch", "python benchmarks/epoch.py", text, args.threads))


if __name__ == "__main__": main()
