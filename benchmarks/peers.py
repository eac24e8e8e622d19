"""The agent beside everything else that one could pick: fitted on the first 200 default days, judged on the last 100.

Each peer and seed has a process of its own. The clock runs from the panel to the fitted policy, building features
included; it stands still while the policy so far is judged. "Share" is the mean payoff over that of the exact optimum
on the same days. Peers that are not installed are left out: pip install .[bench]

    python benchmarks/peers.py
"""
from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from results import peak_memory, table, write_section

from eod_exit_ppo.advantages import typical_return
from eod_exit_ppo.agent import FactorizedPPOEOD
from eod_exit_ppo.baselines import ExactOptimum, Hold, LeastSquaresMC, aligned_marks
from eod_exit_ppo.data import IntradayPanel
from eod_exit_ppo.direct import DirectGradient
from eod_exit_ppo.env import ExitVectorEnv
from eod_exit_ppo.features import feature_set
from eod_exit_ppo.model import ActorCritic
from eod_exit_ppo.objective import payoff
from eod_exit_ppo.policy import LearnedPolicy
from eod_exit_ppo.ppo import PPOConfig
from eod_exit_ppo.sb3 import Sb3Env, from_sb3


class Judge:
    "Keeps the time of a training and, with the clock stopped, the share of the optimum that it has reached."

    def __init__(self, panel):
        self.panel, self.curve, self.broke = panel, [], False
        self.best = payoff(panel, ExactOptimum.synthetic().exit_steps(panel)).mean()
        self.spent, self.since = 0.0, time.perf_counter()

    def __call__(self, policy):
        self.spent += time.perf_counter() - self.since
        share = payoff(self.panel, policy.exit_steps(self.panel)).mean() / self.best
        self.curve.append((self.spent, float(share)))
        self.since = time.perf_counter()


# ---- the peers: each takes the training days, the judge, a seed and the options, and calls the judge on its way ----
def hold(train, judge, seed, args):
    judge(Hold())


def least_squares(train, judge, seed, args):
    judge(LeastSquaresMC.fit(train))


def direct(train, judge, seed, args):
    DirectGradient.fit(train, seed=seed, callback=lambda step, policy: judge(policy), every=10)


def package(train, judge, seed, args, config=None, features=None):
    agent = FactorizedPPOEOD.from_panel(train, judge.panel, config, seed, features=features)
    def look(agent):  # closely at first
        k = len(agent.history)
        if k <= 60 or k % 5 == 0: judge(agent.policy)
    agent.train(progress=False, eval_every=10**9, callback=look)


def literal(train, judge, seed, args):
    "One day and one step at a time, until its time is over; at least one epoch."
    import epoch
    data, rng = (train.signals, train.returns, train.weights), np.random.default_rng(seed)
    model = ActorCritic(10, 7, epoch.WIDTH, generator=torch.Generator().manual_seed(seed)).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=epoch.LR)
    while not judge.curve or judge.spent < args.literal_seconds:
        steps, payoffs = epoch.literal_rollout(model, data, rng.integers(0, train.D, args.literal_days), rng)
        epoch.literal_update(model, optimizer, steps, *epoch.literal_advantages(steps, payoffs, train.T))
        judge(LearnedPolicy(model, feature_set("base")))


# what stable-baselines3 learned soonest with, out of about twenty settings tried
SB3 = dict(stocks=1024, n_steps=8, batch_size=1024, n_epochs=2, lr=1e-2, gae_lambda=0.95, width=64, rounds=60)
SB3_BOOK = dict(days=64, n_steps=7, batch_size=64, n_epochs=4, lr=1e-3, width=128)


def hand_made(panel, unit):
    "What a stock-day looks like: aligned return, aligned signal, what of the return is no alpha, time; (D, T, N, 4)."
    x = aligned_marks(panel) / unit
    u = np.broadcast_to((np.sign(panel.weights) * panel.signals)[:, None], x.shape)
    t = np.broadcast_to(np.linspace(-1, 1, panel.T, dtype=np.float32)[:, None], x.shape)
    return np.stack([x, u, x - u, t], -1, dtype=np.float32, casting="same_kind")


# what this package learned soonest with on the same four numbers, out of about twenty-five settings tried
FOUR = dict(hidden=16, stock_subsample=128, lr=0.025, refresh_until=0.008)


def package_four(train, judge, seed, args):
    unit = typical_return(train)
    package(train, judge, seed, args, PPOConfig(**FOUR), lambda panel: hand_made(panel, unit))


# and on its own features, out of about thirty; the default ends higher
SOON = dict(hidden=16, stock_subsample=200, refresh_until=0.008)


def package_soon(train, judge, seed, args): package(train, judge, seed, args, PPOConfig(**SOON))


def package_level(train, judge, seed, args): package(train, judge, seed, args, PPOConfig(features="level"))


def package_level_soon(train, judge, seed, args):
    package(train, judge, seed, args, PPOConfig(features="level", **SOON))


def package_start(train, judge, seed, args):
    "From least squares: judged before it learns anything, then after each look at held-out training days."
    config = PPOConfig(keep="best", eval_every=5, epochs=20)
    agent = FactorizedPPOEOD.from_panel(train, judge.panel, config, seed, start=LeastSquaresMC.fit)
    judge(agent.policy)
    agent.train(progress=False, eval_every=5)
    judge(agent.policy)


def looks(judge, features, seconds=np.inf):
    "A callback of stable-baselines3 that judges before each round and at the end, and stops when its time is over."
    from stable_baselines3.common.callbacks import BaseCallback

    class EachRound(BaseCallback):
        def _on_rollout_start(self):
            if self.num_timesteps: judge(from_sb3(self.model, features))

        def _on_step(self): return judge.spent < seconds

        def _on_training_end(self): judge(from_sb3(self.model, features))

    return EachRound()


def sb3(train, judge, seed, args, features=None):
    "A stock on a day is an episode. What of the hand-made features is time the environment adds."
    from stable_baselines3 import PPO
    judge.since = time.perf_counter()  # imports are not training
    unit = typical_return(train)
    features = features or (lambda panel: hand_made(panel, unit)[..., :3])
    env = Sb3Env(ExitVectorEnv(train, SB3["stocks"], features=features, view="stock"), unit)
    model = PPO("MlpPolicy", env, learning_rate=lambda left: left * SB3["lr"], n_steps=SB3["n_steps"],
                batch_size=SB3["batch_size"], n_epochs=SB3["n_epochs"], gamma=1.0, gae_lambda=SB3["gae_lambda"],
                seed=seed, device="cpu", policy_kwargs=dict(net_arch=[SB3["width"]] * 2, activation_fn=torch.nn.ReLU))
    model.learn(SB3["rounds"] * SB3["stocks"] * SB3["n_steps"], callback=looks(judge, features))


def sb3_path(train, judge, seed, args): sb3(train, judge, seed, args, "path")


def sb3_level(train, judge, seed, args): sb3(train, judge, seed, args, "level")


def sb3_book(train, judge, seed, args):
    "A day of the whole book is an episode: all that is heard about its stocks is one reward per snapshot."
    from stable_baselines3 import PPO
    judge.since = time.perf_counter()
    env = Sb3Env(ExitVectorEnv(train, SB3_BOOK["days"]), typical_return(train))
    model = PPO("MultiInputPolicy", env, learning_rate=SB3_BOOK["lr"], n_steps=SB3_BOOK["n_steps"],
                batch_size=SB3_BOOK["batch_size"], n_epochs=SB3_BOOK["n_epochs"], gamma=1.0, seed=seed, device="cpu",
                policy_kwargs=dict(net_arch=[SB3_BOOK["width"]] * 2, activation_fn=torch.nn.ReLU))
    try: model.learn(10**9, callback=looks(judge, "path", args.book_seconds))
    except ValueError as error:  # its weights were no numbers any more: what was seen before counts
        if "nan" not in str(error): raise
        judge.broke = True


PEERS = dict(hold=hold, literal=literal, sb3=sb3, sb3_path=sb3_path, sb3_level=sb3_level, sb3_book=sb3_book,
             direct=direct, least_squares=least_squares, package=package, package_soon=package_soon,
             package_four=package_four, package_level=package_level,
             package_level_soon=package_level_soon, package_start=package_start)
NAMES = dict(hold="hold to the close", literal="the literal loop",
             sb3="PPO of stable-baselines3, a stock-day an episode", sb3_path="the same on this package's features",
             sb3_level="the same on the two level features",
             sb3_book="the same algorithm, a day of the whole book an episode",
             direct="direct gradient", least_squares="least squares", package="**this package**",
             package_soon="this package, settings picked for speed: width 16, rounds of 200 stocks",
             package_four="this package on the four hand-made features",
             package_level="this package on its level features",
             package_level_soon="the same, settings picked for speed",
             package_start="this package from least squares")
CERTAIN, COSTLY = ("hold", "least_squares"), ("literal",)  # nothing is drawn: one run; too slow: one seed


# ---- side by side ----
def apart(peer, seed, args):
    "One peer with one seed, in a process of its own."
    command = [sys.executable, __file__, "--one", peer, "--first-seed", str(seed), "--threads", str(args.threads),
               "--literal-seconds", str(args.literal_seconds), "--literal-days", str(args.literal_days),
               "--book-seconds", str(args.book_seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent)
    return json.loads(done.stdout.splitlines()[-1])


def sooner(runs, level):
    "Seconds until the share is reached for the first time, in each run; inf where it never is."
    return [next((s for s, share in r["curve"] if share >= level), np.inf) for r in runs]


def words(seconds):
    "Mean and, of several, the longest; how many got there, if not all did."
    got = [s for s in seconds if np.isfinite(s)]
    if not got: return "–"
    text = f"{np.mean(got):.2f}" + (f" (longest {max(got):.2f})" if len(got) > 1 else "")
    return text if len(got) == len(seconds) else f"{text}, {len(got)} of {len(seconds)} runs"


def words_of(settings): return ", ".join(f"{k} {v}" for k, v in settings.items())


def row(peer, runs):
    last = [r["curve"][-1][1] for r in runs]
    return {"": NAMES[peer], "runs": len(runs), "share: mean": f"{np.mean(last):.5f}", "worst": f"{min(last):.5f}",
            "s to 0.99": words(sooner(runs, 0.99)), "s to 0.999": words(sooner(runs, 0.999)),
            "s in all": f"{np.mean([r['curve'][-1][0] for r in runs]):.2f}",
            "peak memory (MB)": f"{max(r['peak'] for r in runs) / 1e6:.0f}"}


def report(found, args):
    text = ("First 200 default days to fit, last 100 to judge; share of the exact optimum at the end of the training, "
            f"and seconds until it was first reached, judging not counted. Seeds: {args.seeds} for this package, "
            f"{args.other_seeds} for the others that draw, 1 for the literal loop, which was given "
            f"{args.literal_seconds:.0f} s. Memory: the most that the process ever held, imports, data and judging "
            f"included.\n\n{table([row(peer, runs) for peer, runs in found.items()])}")
    if broke := {NAMES[k]: sum(r["broke"] for r in runs) for k, runs in found.items() if any(r["broke"] for r in runs)}:
        text += "\n\nStopped because its weights had become NaN: " + ", ".join(
            f"{name}, {n} of its runs" for name, n in broke.items()) + "; what they had reached before is shown."
    pairs = {"picked for speed: its level features, against four hand-made ones": ("package_level_soon", "sb3"),
             "picked for speed, both on the path features": ("package_soon", "sb3_path"),
             "picked for speed, both on the four hand-made features": ("package_four", "sb3"),
             "picked for speed, both on the level features": ("package_level_soon", "sb3_level"),
             "picked for speed: its path features, against four hand-made ones": ("package_soon", "sb3"),
             "defaults: its path features, against four hand-made ones": ("package", "sb3"),
             "defaults, both on the path features": ("package", "sb3_path")}
    told = []
    for what, pair in pairs.items():
        if not set(pair) <= set(found): continue
        ours, theirs = (np.mean(sooner(found[k], 0.99)) for k in pair)
        told.append({"time to 0.99 of the optimum": what, "this package (s)": f"{ours:.2f}",
                     "stable-baselines3 (s)": f"{theirs:.2f}", "ratio": f"{theirs / ours:.1f}"})
    if told: text += (
        f"\n\n{table(told)}\n\nThe settings of "
        f"stable-baselines3: {words_of(SB3)}; learning rate falling linearly to 0, ReLU. Those of this package on its "
        f"own features: {words_of(SOON)}; on the hand-made ones: {words_of(FOUR)}. All were picked by hand, as what "
        "was soonest there; the defaults were not.")
    if start := found.get("package_start"): text += (
        f" From least squares this package's share is at once {min(r['curve'][0][1] for r in start):.5f} or more, and "
        f"after learning {min(r['curve'][-1][1] for r in start):.5f} or more.")
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=PEERS, help="only these; a part is not recorded")
    parser.add_argument("--seeds", type=int, default=5, help="runs of this package")
    parser.add_argument("--other-seeds", type=int, default=3, help="runs of the other peers that draw")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--literal-seconds", type=float, default=60, help="no epoch of the loop starts after these")
    parser.add_argument("--book-seconds", type=float, default=15, help="of stable-baselines3 on the whole book")
    parser.add_argument("--literal-days", type=int, default=64, help="days of its epoch; 64 take about 10 GB")
    parser.add_argument("--one", choices=PEERS, help="run one peer in this process and print it as JSON")
    args = parser.parse_args()
    if args.literal_days < 2: parser.error("--literal-days: the loop standardizes over its days, give at least 2")
    torch.set_num_threads(args.threads)
    if args.one:
        train, test = IntradayPanel.synthetic().split(200)
        torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # loads a part of torch: imports are not training
        judge = Judge(test)
        PEERS[args.one](train, judge, args.first_seed, args)
        print(json.dumps(dict(curve=judge.curve, peak=peak_memory(), broke=judge.broke)))
        return
    wanted = [p for p in PEERS if p in (args.peers or PEERS)]
    if any("sb3" in p for p in wanted) and not importlib.util.find_spec("stable_baselines3"):
        print("stable-baselines3 is not installed and left out: pip install .[bench]", file=sys.stderr)
        wanted = [p for p in wanted if "sb3" not in p]
    found = {}
    for peer in wanted:
        n = 1 if peer in CERTAIN + COSTLY else args.seeds if "package" in peer else args.other_seeds
        found[peer] = [apart(peer, args.first_seed + k, args) for k in range(n)]
        print(", ".join(f"{k} {v}" for k, v in row(peer, found[peer]).items() if k), f"({peer})", file=sys.stderr)
    text, packages = report(found, args), ("torch", "numpy", "stable-baselines3", "gymnasium")
    print(text if args.peers else write_section("Peers", "python benchmarks/peers.py", text, args.threads, packages))


if __name__ == "__main__": main()
