"""Digests of what the plain payoff teaches and decides: credit, weights, history and decisions, for both recipes.

    python tests/bit_equal.py          prints what differs from tests/bit_equal.json
    python tests/bit_equal.py --write  takes today's digests; do this only where a change of the numbers is meant
"""
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

from eod_exit_ppo import (DirectGradient, ExactOptimum, ExitAt, FactorizedPPOEOD, Hindsight, IntradayPanel,
                          LeastSquaresMC, PPOConfig, Threshold, WalkForward, payoff, replay, walk_forward)

FILE = Path(__file__).with_name("bit_equal.json")


def digest(*arrays) -> str:
    "Type, shape and bytes of some arrays."
    found = hashlib.sha256()
    for a in arrays:
        a = np.ascontiguousarray(a.detach().cpu().numpy() if isinstance(a, torch.Tensor) else a)
        found.update(f"{a.dtype.str} {a.shape}".encode() + a.tobytes())
    return found.hexdigest()[:16]


def machine() -> str:
    "What rounds as it does: libraries, and a few sums and products."
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.normal(size=(300, 300)).astype(np.float32)) for _ in range(2))
    c = [a @ b, (a @ b).exp().sum(1), torch.sigmoid(a), (a.double() @ b.double()), a.std(), a[:, :17] @ b[:17, :32]]
    q = np.linalg.qr(a.numpy().astype(np.float64), mode="r")
    return f"torch {torch.__version__}, numpy {np.__version__}, {digest(*c, q)}"


def panels() -> dict[str, IntradayPanel]:
    "Panels in which every stock has a weight."
    plain = IntradayPanel.synthetic(24, 5, 30, seed=1)
    hard = IntradayPanel.synthetic(24, 6, 30, seed=2, noise="walk", tails=4, market=0.01, missing=0.2)
    return dict(plain=plain, hard=hard.with_costs(4, 1.5), default=IntradayPanel.synthetic(40))


LATER = ["objective", "held_out"]  # columns of the history that came after the digests
RECIPES = dict(
    stock=PPOConfig(epochs=12, rollouts_per_epoch=6, refresh_until=0.3, eval_every=3),
    few=PPOConfig(epochs=6, rollouts_per_epoch=6, stock_subsample=12, ppo_epochs=2, initial_exit=0.2, eval_every=3),
    base=PPOConfig(epochs=6, rollouts_per_epoch=6, features="base", adv_norm="standardize", redraw="step",
                   stock_subsample=20, target_kl=0.01),
    joint=PPOConfig.joint(epochs=5, rollouts_per_epoch=8, hidden=48, stock_subsample=14, batch_size=16, eval_every=2))


def of_agent(panel, config) -> dict[str, str]:
    "What an agent learns on a panel."
    fit, test = panel.split(panel.D - 8)
    agent = FactorizedPPOEOD.from_panel(fit, test, config, seed=3)
    ro = agent.rollout_days(np.arange(6))
    credit = agent.compute_gae(ro)
    out = dict(unit=digest(np.array(agent.unit)), rollout=digest(ro.stock, ro.logp, ro.action, ro.exit_step, ro.payoff),
               credit=digest(credit.adv, credit.ret, credit.weight, credit.value))
    agent.train(progress=False)
    history = agent.history.drop(columns=["seconds", *LATER])
    policy, held = agent.policy, np.arange(panel.N) % 3 > 0
    return out | dict(
        history=digest(history.to_numpy(np.float64)), weights=digest(*agent.model.state_dict().values()),
        exits=digest(policy.exit_steps(panel)), chance=digest(policy.exit_probability(test[0], held, 2)),
        live=digest(replay(policy, test[:2])), earned=digest(payoff(test, policy.exit_steps(test))))


def of_rules(panel) -> dict[str, str]:
    "What the rules decide on a panel, and what that earns."
    fit, test = panel.split(panel.D - 8)
    threshold, squares = Threshold.fit(fit), LeastSquaresMC.fit(fit)
    rules = dict(at=ExitAt(2), hindsight=Hindsight(), threshold=threshold, squares=squares)
    rules["exact"] = ExactOptimum(np.linspace(0.1, 1, panel.T))
    steps = {k: p.exit_steps(test) for k, p in rules.items()}
    out = {k: digest(s, payoff(test, s), payoff(test, s, (3, 1))) for k, s in steps.items()}
    direct = DirectGradient.fit(fit, hidden=8, steps=12)
    return out | dict(levels=digest(np.asarray(threshold.level)), coef=digest(squares.coef),
                      direct=digest(direct.exit_steps(test)))


def of_walk(panel) -> dict[str, str]:
    "What a walk-forward decides."
    config = PPOConfig(epochs=3, rollouts_per_epoch=3, hidden=8)
    result = walk_forward(panel, config, WalkForward(10, 6), 2, 1, progress=False,
                          policies={"threshold": Threshold.fit})
    return {k: digest(v) for k, v in result.exit_steps.items()} | dict(
        history=digest(result.history.drop(columns=LATER).select_dtypes("number").to_numpy(np.float64)))


def everything() -> dict:
    "All digests."
    torch.set_num_threads(1)
    found = panels()
    out = {f"{name}, {recipe}": of_agent(panel, config) for name, panel in found.items()
           for recipe, config in RECIPES.items() if name != "default" or recipe == "stock"}
    out |= {f"{name}, rules": of_rules(found[name]) for name in ("plain", "hard")}
    return out | dict(walk=of_walk(found["plain"]))


def differences(old, new) -> list[str]:
    "Where they differ, in words."
    return [f"{part}: {k}" for part in old for k in old[part] if new.get(part, {}).get(k) != old[part][k]]


if __name__ == "__main__":
    new = dict(machine=machine(), digests=everything())
    if "--write" in sys.argv: FILE.write_text(json.dumps(new, indent=1) + "\n")
    else: print("\n".join(differences(json.loads(FILE.read_text())["digests"], new["digests"])) or "all the same")
