"""Exits for the book as a whole: the agent beside every other policy, each with its distance from the best possible.

Every problem names its days to fit on and its days to judge by, its objective, what bounds it, and the one setting of
the agent for it. Each training has a process of its own, so its seconds are those of one thread; a table goes into
RESULTS.md and all rows into book.csv, which nbs/studies/book.ipynb draws.

    python benchmarks/book.py                          every problem, 5 seeds
    python benchmarks/book.py --problems impact_003    some of them; their rows are replaced
    python benchmarks/book.py --quick                  tiny days, one seed, printed and not recorded
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from results import table, write_section

from eod_exit_ppo import (ExactOptimum, Exits, ExponentialUtility, FactorizedPPOEOD, Hold, Impact,
                          IntradayPanel, LeastSquaresMC, Limits, Neutrality, Payoff, PPOConfig, Risk, Threshold)
from eod_exit_ppo.bounds import ExponentialOptimum, Seen, ShadowPrice, impact_bound, neutral_bound, residual
from eod_exit_ppo.data import last_mark
from eod_exit_ppo.features import path_features
from eod_exit_ppo.objective import Term
from eod_exit_ppo.runs import best_fixed_exit

FILE = Path(__file__).with_name("book.csv")
TIGHT = Limits(max_net=0.005)     # within which exits keep the book neutral
WIDE = dict(rollouts_per_epoch=16, batch_size=32)  # twice the days in a round: what a term over the book needs


def own_move(panel: IntradayPanel) -> np.ndarray:
    "Two columns of one's own: the aligned return less the book's mean, in units of its spread, now and at its best."
    r, side = last_mark(panel.returns), np.sign(panel.weights)[:, None]
    x = side * (r - r.mean(2, keepdims=True))
    spread = np.sqrt(np.cumsum((x * x).mean(2, keepdims=True), 1) / np.arange(1, panel.T + 1)[:, None]) + 1e-12
    return np.float32(np.clip(np.stack([x, np.maximum.accumulate(x, 1)], -1) / spread[..., None], -8, 8))


@dataclass(frozen=True)
class Problem:
    "What is judged: days, an objective, the best that is known, and the agent's one setting."
    days: Callable        # quick -> (days to fit on, days to judge by, the exact optimum of a stock by itself)
    objective: Term
    best: Callable | None = None     # (fit, judge, exact) -> name and value of what no policy exceeds
    rules: Callable | None = None    # (fit, judge, exact) -> more policies by name
    agents: dict = field(default_factory=dict)  # name -> settings of from_panel, and of PPOConfig under "config"


def default_days(quick):
    D, N = (30, 40) if quick else (300, 800)
    fit, judge = IntradayPanel.synthetic(D=D, N=N).split(2 * D // 3)
    return fit, judge, ExactOptimum.synthetic(D, 8, N)


def betas_days(quick, seed=5):
    D, N = (30, 40) if quick else (600, 400)
    fit, judge = IntradayPanel.synthetic(D=D, T=8, N=N, seed=seed, market=0.02, noise="iid").split(2 * D // 3)
    return fit, judge, ExactOptimum.synthetic(D, 8, N, seed)


def one_beta_days(quick):
    "The same stocks without a market, and one that moves them all alike."
    D, N = (30, 40) if quick else (600, 400)
    p = IntradayPanel.synthetic(D=D, T=8, N=N, seed=5, noise="iid")
    market = np.cumsum(np.random.default_rng(0).normal(0, 0.02 / 8**0.5, (D, 8)), 1)
    fit, judge = p.with_arrays(returns=np.float32(p.returns + market[:, :, None])).split(2 * D // 3)
    return fit, judge, ExactOptimum.synthetic(D, 8, N, 5)


def crowded(impact, **config) -> Problem:
    def rules(fit, judge, exact):
        return {"shadow prices, exact": ShadowPrice.fit(fit, impact, exact),
                "shadow prices, least squares": ShadowPrice.fit(fit, impact), "optimum that ignores impact": exact}
    def best(fit, judge, exact): return "bound", impact_bound(judge, impact, exact).mean
    return Problem(default_days, Payoff() - impact, best, rules,
                   {"agent": dict(objective=Payoff() - impact, config=config)})


def neutral_rules(fit, judge, exact):
    squares = Seen(LeastSquaresMC.fit(residual(fit)), residual)
    return {"least squares on residual returns": squares, "the same under limits": TIGHT(squares)}


NEUTRAL = Payoff() - Neutrality(0.5)
SELF = path_features + own_move
AGENTS = {
    "agent on the payoff": dict(config=WIDE),
    "agent on the payoff, limited afterwards": dict(config=WIDE, afterwards=TIGHT),
    "agent trained within limits": dict(config=WIDE, limits=TIGHT, features=SELF),
    "agent trained within limits on the objective": dict(config=WIDE, limits=TIGHT, features=SELF, objective=NEUTRAL),
    "agent on the objective, no limits": dict(config=WIDE | dict(balance=1600.0, epochs=250), objective=NEUTRAL),
}
NEUTRAL_ONES = {k: v for k, v in AGENTS.items() if "on the payoff" not in k}


def frontier(a, **more) -> Problem:
    agents = {"agent on the objective": dict(config=WIDE, objective=Payoff() - Risk(a))}
    return Problem(betas_days, Payoff() - Risk(a), None, neutral_rules, agents | more)


PROBLEMS = {
    "impact_003": crowded(Impact(0.03)), "impact_01": crowded(Impact(0.1, close=0.01)),
    "impact_02": crowded(Impact(0.2), initial_exit=0.2, **WIDE),  # strong: a fresh policy begins by spreading its exits
    "betas": Problem(betas_days, NEUTRAL, None, neutral_rules, AGENTS),
    "betas_fresh": Problem(lambda quick: betas_days(quick, 6), NEUTRAL, None, neutral_rules, NEUTRAL_ONES),
    "one_beta": Problem(one_beta_days, NEUTRAL, lambda fit, judge, exact: ("bound", neutral_bound(judge, exact).mean),
                        neutral_rules, NEUTRAL_ONES),
    "max_net": Problem(betas_days, Payoff(), None, None, {
        "agent within a net of 1%": dict(config=WIDE, limits=Limits(0.01))}),
    "risk_5": frontier(5.0), "risk_80": frontier(80.0),
    "risk_20": frontier(20.0, **{"agent on the payoff": dict(config=WIDE)}),
    "utility": Problem(
        default_days, ExponentialUtility(20.0),
        lambda fit, judge, exact: ("exact", float(ExponentialOptimum(exact, 20.0).value(judge).mean())),
        lambda fit, judge, exact: {"exact optimum of the utility": ExponentialOptimum(exact, 20.0)},
        {"agent": dict(objective=ExponentialUtility(20.0))}),
    "start": Problem(
        default_days, Payoff(), lambda fit, judge, exact: ("optimum", float(Exits.of(judge, exact).payoff().mean())),
        None, {"agent from least squares": dict(config=dict(keep="best", eval_every=10, epochs=50), start="squares")}),
}
STARTS = {"squares": LeastSquaresMC.fit}


def trained(problem, name, seed, quick):
    "The policy of one training, and the processor seconds from the panel to it, features and fit of a start included."
    fit, judge, _ = problem.days(quick)
    how = dict(problem.agents[name])
    config = PPOConfig(**{"eval_every": 10**6} | how.pop("config", {}))
    afterwards, start = how.pop("afterwards", None), STARTS.get(how.pop("start", None))
    if quick: config = replace(config, epochs=4, eval_every=2)
    began = time.process_time()  # of one thread: what a quiet core would take
    agent = FactorizedPPOEOD.from_panel(fit, config=config, seed=seed, start=start, **how)
    agent.train(progress=False)
    seconds = time.process_time() - began
    return (afterwards(agent.policy) if afterwards else agent.policy), seconds


def other_ppo(problem, seconds, quick):
    "stable-baselines3's PPO on the whole book, an episode a day, for as many seconds; None where it is not installed."
    try:
        from stable_baselines3 import PPO
        from stable_baselines3.common.callbacks import BaseCallback
    except ImportError: return None
    from eod_exit_ppo import ExitVectorEnv, from_sb3
    from eod_exit_ppo.advantages import typical_return
    from eod_exit_ppo.sb3 import Sb3Env
    class Stop(BaseCallback):
        def _on_step(self): return time.perf_counter() - began < (1 if quick else seconds)
    fit, _, _ = problem.days(quick)
    began = time.perf_counter()
    env = Sb3Env(ExitVectorEnv(fit, 8, objective=problem.objective), unit=typical_return(fit))
    model = PPO("MultiInputPolicy", env, n_steps=fit.T * 2, batch_size=fit.T * 4, gamma=1.0, seed=0, device="cpu")
    return from_sb3(model.learn(10**9, callback=Stop()))


def row(objective, judge, decides, **more):
    "A policy judged: what the days were worth, payoff, spread, net exposure."
    exits = Exits.of(judge, decides)
    net = np.abs(exits.exposure()["net"][:, :-1]) if judge.T > 1 else np.zeros((1, 1))
    return dict(objective=float(objective(exits).mean()), payoff=float(exits.payoff().mean()),
                spread=float(exits.payoff().std(ddof=1)), net=float(net.mean()), largest_net=float(net.max()), **more)


def rule_rows(name, quick):
    "What needs no training of a network: bounds and rules."
    problem = PROBLEMS[name]
    fit, judge, exact = problem.days(quick)
    policies = {"hold": Hold(), "best fixed exit": best_fixed_exit(fit, problem.objective),
                "threshold": Threshold.fit(fit), "least squares": LeastSquaresMC.fit(fit)}
    if problem.rules: policies |= problem.rules(fit, judge, exact)
    rows = [row(problem.objective, judge, p, problem=name, policy=k) for k, p in policies.items()]
    if problem.best:
        label, value = problem.best(fit, judge, exact)
        rows.insert(0, dict(problem=name, policy=label, objective=value))
    return rows


def one(name, policy, seed, quick):
    "One training, judged."
    problem = PROBLEMS[name]
    if policy == "stable-baselines3, whole book":
        found, seconds = other_ppo(problem, 15, quick), 15.0
        if found is None: return None
    else: found, seconds = trained(problem, policy, seed, quick)
    return row(problem.objective, problem.days(quick)[1], found, problem=name, policy=policy,
               seed=seed, seconds=seconds)


def apart(name, policy, seed, quick):
    "The same in a process of its own."
    command = [sys.executable, __file__, "--one", name, policy, str(seed), *(["--quick"] * quick)]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode: raise SystemExit(f"{name}, {policy}, seed {seed}: {out.stderr}")
    return json.loads(out.stdout.splitlines()[-1])


def shown(rows: pd.DataFrame) -> str:
    "A table per problem: means over seeds, the worst seed, the seconds."
    parts = [
        "Means over the trainings; `worst` is the worst training by the objective, `spread` the standard deviation of "
        "the daily payoff, `net` the mean and `largest` the largest net exposure of any day and training, as shares of "
        "one side, `seconds` the processor time of a training. `betas` is a market in which stocks move with the "
        "market by different amounts, `betas_fresh` a second such market, `one_beta` one in which all move alike, and "
        "`start` begins from least squares."]
    for name, own in rows.groupby("problem", sort=False):
        lines = []
        for policy, r in own.groupby("policy", sort=False):
            def mean(k, form): return "" if r[k].isna().all() else format(r[k].mean(), form)
            def largest(x): return "" if x.isna().all() else format(x.max(), ".2%")
            lines.append(dict(policy=policy, objective=mean("objective", ".5f"),
                              worst=f"{r.objective.min():.5f}" if len(r) > 1 else "", payoff=mean("payoff", ".5f"),
                              spread=mean("spread", ".4f"), net=mean("net", ".2%"),
                              largest=largest(r.largest_net), seconds=mean("seconds", ".1f")))
        parts.append(f"**{name}**: `{PROBLEMS[name].objective!r}`\n\n{table(lines)}")
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, help="only these; their rows are replaced")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each agent")
    parser.add_argument("--quick", action="store_true", help="tiny days, one seed; not recorded")
    parser.add_argument("--one", nargs=3, metavar=("PROBLEM", "POLICY", "SEED"), help="one training, printed as JSON")
    args = parser.parse_args()
    if args.one: return print(json.dumps(one(args.one[0], args.one[1], int(args.one[2]), args.quick)))
    kept = pd.read_csv(FILE) if FILE.exists() else pd.DataFrame({"problem": []})
    for name in args.problems or PROBLEMS:
        rows = rule_rows(name, args.quick)
        for policy in PROBLEMS[name].agents:
            rows += [apart(name, policy, s, args.quick) for s in range(1 if args.quick else args.seeds)]
        if name in ("impact_003", "betas"):
            rows += filter(None, [apart(name, "stable-baselines3, whole book", 0, args.quick)])
        print(shown(pd.DataFrame(rows)), flush=True)
        if args.quick: continue
        kept = pd.concat([kept[kept.problem != name], pd.DataFrame(rows)])
        kept = kept.sort_values("problem", key=lambda p: p.map(list(PROBLEMS).index), kind="stable")
        kept.to_csv(FILE, index=False)
        write_section("The book as a whole", "python benchmarks/book.py", shown(kept), 1,
                      ("torch", "numpy", "stable-baselines3"))


if __name__ == "__main__": main()
