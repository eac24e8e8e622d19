"""Every stopping problem with a published or exact value, at a small size: one table, one loop, in seconds.

A policy is judged on fresh paths. No policy can earn more than the best, so its average may lie above the published
value by chance only: by 2.34 standard errors at most, QuantLib's own limit for its least-squares engine. Below, it is
also allowed what a fit on few paths lacks: `lacks`, the shortfall of the same fit on 2,000,000 fresh paths (200,000 of
the longest) and two standard errors of it. The full sizes are in nbs/studies/published_tables.ipynb."""
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import pytest

from eod_exit_ppo import (ExactOptimum, FactorizedPPOEOD, Hold, IntradayPanel, LeastSquaresMC, PPOConfig, first_exit,
                          payoff)
from eod_exit_ppo.paths import (brownian_bridge, exact_bridge, fractional_brownian, geometric_brownian, max_call,
                                stopping_panel)

pytestmark = pytest.mark.filterwarnings("ignore:the book lacks a side")


# ---- the problems: n paths from a seed, as a panel ----
def call(n, seed, d, s0):
    prices = geometric_brownian(n, d, s0, seed=seed)
    return stopping_panel(max_call(prices), prices)


def bridge(n, seed, T): return stopping_panel(brownian_bridge(n, T, seed))
def fractional(n, seed, H): return stopping_panel(fractional_brownian(n, H, seed=seed))


def calmer(n, seed, H, dates=100):
    """The same, less a multiple of the sum of surprises: worth the same under every rule, with less chance.

    The path itself is in `extra`."""
    w, k = fractional_brownian(n, H, seed=seed), np.arange(dates)
    together = (np.abs(k + 1)**(2 * H) + np.abs(k - 1)**(2 * H) - 2 * k**(2 * H)) / 2 / dates**(2 * H)
    L = np.linalg.cholesky(together[np.abs(k[:, None] - k)])
    m = np.pad((np.linalg.solve(L, np.diff(w).T).T * np.diag(L)).cumsum(1), ((0, 0), (1, 0)))
    return stopping_panel(w - (w * m).sum() / (m * m).sum() * m, w[:, :, None])


def put(n, seed, s0, sigma, T, strike=40.0, rate=0.06):
    "A Bermudan put with T dates in a year, of Longstaff and Schwartz (2001)."
    s = geometric_brownian(n, 1, s0, T, 1.0, rate, 0.0, sigma, seed)[:, 1:]
    pay = np.exp(-rate * np.arange(1, T + 1) / T) * np.maximum(strike - s[..., 0], 0)
    panel = stopping_panel(pay, s / strike)
    return replace(panel, tradable=panel.returns > 0)  # theirs, too: what is not in the money is not regressed on


def put_tree(s0, sigma, T, strike=40.0, rate=0.06, per=100):
    "The same by a binomial tree, exercised at the T dates."
    n = T * per
    up, interest = np.exp(sigma / n**0.5), np.exp(rate / n)
    p = (interest - 1 / up) / (up - 1 / up)
    v = np.maximum(strike - s0 * up**np.arange(n, -n - 1, -2.0), 0)
    for step in range(n - 1, -1, -1):
        v = (p * v[:-1] + (1 - p) * v[1:]) / interest
        if step and step % per == 0: v = np.maximum(v, strike - s0 * up**np.arange(step, -step - 1, -2.0))
    return v[0]


def day(n, seed):
    "The first 200 default days to fit (seed 0), the last 100 to judge."
    return IntradayPanel.synthetic()[:n] if seed == 0 else IntradayPanel.synthetic()[-n:]


# ---- what is looked at, and the policies ----
def call_state(panel):
    prices = np.sort(panel.extra / 100, -1)[..., ::-1]
    return np.concatenate([np.maximum(prices[..., :1] - 1, 0), np.log(prices)], -1)


def bridge_state(panel):
    return np.stack([panel.returns, panel.returns / np.sqrt(np.arange(panel.T, 0, -1) / panel.T)[:, None]], -1)


def path_state(panel):
    w, t = panel.returns if panel.extra is None else panel.extra[..., 0], np.arange(panel.T)
    back = [w - w[:, np.maximum(t - k, 0)] for k in (1, 2, 4, 8, 16, 32, 64, 99)]
    return np.stack([w, w - np.cumsum(w, 1) / (t + 1)[:, None], w - np.maximum.accumulate(w, 1), *back], -1)


def put_state(panel): return panel.extra


def polynomial(state, columns, degree):
    "1, all numbers of the state, and products of some of them up to a degree."
    def basis(panel):
        f = state(panel)
        products = [f[..., list(c)].prod(-1) for k in range(2, degree + 1)
                    for c in combinations_with_replacement(columns, k)]
        return np.concatenate([np.ones_like(f[..., :1]), f, np.stack(products, -1)], -1)
    return basis


def squares(state, columns, degree):
    return lambda train: LeastSquaresMC.fit(train, polynomial(state, columns, degree))


def ppo(state, paths):
    "20 epochs of so many paths, which start at one exit in T dates."
    def fit(train):
        config = PPOConfig(epochs=20, rollouts_per_epoch=paths, batch_size=4096, hidden=32, initial_exit=1 / train.T,
                           lr=1e-2, ppo_epochs=2, refresh_until=0.1, eval_every=10**6)
        agent = FactorizedPPOEOD.from_panel(train, config=config, features=state, seed=0)
        agent.train(progress=False)
        return agent.policy
    return fit


class Boundary:
    "The best rule of a bridge: stop above the exact boundary."
    def __init__(self, train): self.above = exact_bridge(train.T)[1]
    def exit_steps(self, panel):
        return first_exit(panel.returns > np.append(self.above, -np.inf)[:, None])


FITS = {
    "hold": lambda train: Hold(), "optimum": lambda train: ExactOptimum.synthetic(), "boundary": Boundary,
    "ppo": ppo(bridge_state, 2048), "ppo, path": ppo(path_state, 512),
    "squares": LeastSquaresMC.fit, "squares, prices": squares(call_state, (0, 1, 2), 3),
    "squares, bridge": squares(bridge_state, (0,), 4), "squares, path": squares(path_state, (0, 1, 2, 6), 2),
    "squares, put": squares(put_state, (0,), 3),
}


class Row(NamedTuple):
    "One problem and one policy."
    draw: Callable          # n paths, seed -> panel
    inputs: dict            # its other arguments
    value: float            # of the best policy, or of this one
    source: str             # where the value is from
    policy: str             # which of FITS
    paths: int              # to fit
    fresh: int              # to judge
    lacks: float = 0.0      # by how much the policy falls short
    rounding: float = 0.0   # of a value that is of the same days: there is no chance in it


BECKER, TREE = "Becker, Cheridito and Jentzen (2019)", "Longstaff and Schwartz (2001), and a binomial tree"
SHEPP, DAY = "backward induction, after Shepp (1969)", "synthetic days, whose signal is known"
TABLE = [
    Row(call, dict(d=2, s0=100.0), 13.902, BECKER, "squares, prices", 50_000, 100_000, 0.036),
    Row(call, dict(d=5, s0=90.0), 16.644, BECKER, "squares, prices", 50_000, 100_000, 0.056),
    Row(call, dict(d=5, s0=100.0), 26.159, BECKER, "squares, prices", 50_000, 100_000, 0.070),
    Row(bridge, dict(T=5), 0.2887, SHEPP, "boundary", 1, 100_000),
    Row(bridge, dict(T=5), 0.2887, SHEPP, "squares, bridge", 20_000, 100_000),
    Row(bridge, dict(T=5), 0.2887, SHEPP, "ppo", 20_000, 100_000, 0.0013),
    Row(bridge, dict(T=13), 0.3290, SHEPP, "boundary", 1, 100_000),
    Row(bridge, dict(T=13), 0.3290, SHEPP, "squares, bridge", 20_000, 100_000, 0.0007),
    Row(bridge, dict(T=78), 0.3583, SHEPP, "boundary", 1, 50_000),
    Row(bridge, dict(T=78), 0.3583, SHEPP, "squares, bridge", 10_000, 50_000, 0.0027),
    Row(fractional, dict(H=0.3), 0.370, BECKER, "squares, path", 10_000, 10_000, 0.0083),
    Row(fractional, dict(H=0.5), 0.0, BECKER, "squares, path", 10_000, 10_000),
    Row(fractional, dict(H=0.7), 0.207, BECKER, "squares, path", 10_000, 10_000, 0.0043),
    Row(calmer, dict(H=0.6), 0.117, BECKER, "ppo, path", 5_000, 10_000, 0.0030),
    Row(put, dict(s0=36.0, sigma=0.2, T=50), 4.478, TREE, "squares, put", 50_000, 100_000, 0.0081),
    Row(day, {}, 0.05004, DAY, "hold", 1, 100, rounding=5e-6),
    Row(day, {}, 0.06532, DAY, "optimum", 1, 100, rounding=5e-6),
    Row(day, {}, 0.06532, DAY, "squares", 200, 100, rounding=5e-6),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.draw.__name__} {row.inputs} {row.policy}")
def test_value(row):
    train, fresh = (row.draw(n, seed=seed, **row.inputs) for seed, n in enumerate((row.paths, row.fresh)))
    policy = FITS[row.policy](train)
    earned = payoff(fresh, policy.exit_steps(fresh)).astype(np.float64)
    error = earned.std() / len(earned)**0.5
    off, limit = earned.mean() - row.value, row.rounding or 2.34 * error
    assert -limit - row.lacks <= off <= limit, "\n".join([
        *(f"{k} = {v}" for k, v in row._asdict().items()), f"earned = {earned.mean():.6f}, standard error {error:.6f}",
        f"off = {off:+.6f}, allowed from {-limit - row.lacks:+.6f} to {limit:+.6f}"])


def test_exact_values():
    "What is computed here is what is published."
    assert abs(put_tree(36, 0.2, 50) - 4.478) < 0.002
    np.testing.assert_allclose([exact_bridge(T)[0] for T in (5, 13, 78)], [0.289, 0.3290, 0.3583], atol=0.0005)
