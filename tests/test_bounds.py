"""Bounds on the whole book: never exceeded, nearly reached, and the same by brute force."""
import itertools
import pickle

import numpy as np
import pytest

from eod_exit_ppo import ExactOptimum, Exits, Hold, IntradayPanel, LeastSquaresMC, Payoff, check_no_lookahead
from eod_exit_ppo.bounds import (
    ExponentialOptimum,
    Seen,
    ShadowPrice,
    exit_shares,
    impact_bound,
    neutral_bound,
    priced,
    residual,
    separable_value,
)
from eod_exit_ppo.terms import ExponentialUtility, Impact, Neutrality

OPTIMUM = ExactOptimum.synthetic(D=30, T=8, N=200, seed=3)
OPTIMUM_OF_SIX = ExactOptimum.synthetic(D=3, T=6, N=12, seed=2)
PANEL = IntradayPanel.synthetic(D=30, T=8, N=200, seed=3)
IMPACTS = Impact(0.03), Impact(0.1, close=0.01), Impact(0.2), Impact([0.2] + 7 * [0.0])


@pytest.mark.parametrize("impact", IMPACTS, ids=repr)
def test_the_bound_is_never_exceeded_and_nearly_reached(impact):
    shadow, objective = ShadowPrice.fit(PANEL, impact, OPTIMUM), Payoff() - impact
    bound = shadow.bound(PANEL)
    assert bound == impact_bound(PANEL, impact, OPTIMUM) and bound.error == 0
    for policy in (Hold(), OPTIMUM, shadow, ShadowPrice.fit(PANEL, impact)):
        earned = objective(Exits.of(PANEL, policy))
        assert earned.mean() < bound.mean + 2 * earned.std() / len(earned)**0.5
    assert objective(Exits.of(PANEL, shadow)).mean() > 0.95 * bound.mean
    np.testing.assert_allclose(exit_shares(Exits.of(PANEL, shadow)).mean(0), shadow.shares, atol=2e-3)


def test_any_prices_bound_every_way_to_exit():
    "Day by day, on random exits: payoff less impact is below payoff less prices, plus a constant."
    rng, kappa = np.random.default_rng(0), np.full(8, 0.2)
    for _ in range(5):
        shares, steps = rng.dirichlet(np.ones(8)), rng.integers(0, 8, (30, 200))
        below = (Payoff() - Impact(0.2))(Exits.of(PANEL, steps))
        above = Exits.of(priced(PANEL, kappa * shares), steps).payoff() + kappa @ shares**2
        assert (below <= above + 1e-6).all()


def test_prices_enter_the_induction_as_the_priced_panel_enters_least_squares():
    train, test = IntradayPanel.synthetic(D=80, N=200, seed=4).split(60)
    prices = np.linspace(0, 0.004, 8)
    exact = ExactOptimum(ExactOptimum.synthetic(D=80, N=200, seed=4).f, prices=prices)
    seen = Seen(LeastSquaresMC.fit(priced(train, prices)), lambda p: priced(p, prices))
    net = priced(test, prices)
    got, best = (Exits.of(net, rule.exit_steps(test)).payoff().mean() for rule in (seen, exact))
    assert got > 0.998 * best


def test_utility_is_exact_by_brute_force():
    "One stock, three snapshots: no pair of levels on a grid does better, and the best pair is the rule."
    few, u, a = ExactOptimum([0.5, 0.6, 1.0]), 0.8, 60.0
    with pytest.warns(UserWarning, match="lacks a side"):
        one = IntradayPanel(np.full((1, 1), u), np.zeros((1, 3, 1)), np.ones((1, 1)))
    e = np.linspace(-0.06, 0.06, 2401)
    p = np.exp(-e**2 / 2e-4)
    p /= p.sum()
    lost = [np.exp(-a * (0.02 * u * f + e)) * p for f in few.f]
    cut = np.arange(600, 1800, 4)
    least = min((sum(lost[0][i:]) + p[:i].sum() * (sum(lost[1][j:]) + p[:j].sum() * lost[2].sum()), i, j)
                for i, j in itertools.product(cut[::8], cut[::8]))
    exact = ExponentialOptimum(few, a)
    np.testing.assert_allclose(exact.value(one)[0], (1 - least[0]) / a, atol=2e-6)
    levels = [0.02 * u * f + e[i] for f, i in zip(few.f, least[1:])]
    np.testing.assert_allclose(exact.continuation(one)[0, :, 0], levels, atol=1e-3)


def test_aversion_to_risk_is_rewarded_by_its_own_measure():
    for a in (20.0, 60.0):
        exact = ExponentialOptimum(OPTIMUM, a)
        earned = ExponentialUtility(a)(Exits.of(PANEL, exact))
        assert abs((earned - exact.value(PANEL)).mean()) < 3 * earned.std() / 30**0.5
        assert exact.value(PANEL).mean() < separable_value(PANEL, OPTIMUM).mean()


def test_the_market_adds_nothing_to_a_neutral_bound():
    walk = np.random.default_rng(1).normal(0, 0.01, (30, 8)).cumsum(1).astype(np.float32)
    moved = PANEL.with_arrays(returns=PANEL.returns + walk[:, :, None])
    np.testing.assert_allclose(residual(moved).returns, residual(PANEL).returns, atol=1e-6)
    bound = neutral_bound(moved, OPTIMUM)
    assert bound == neutral_bound(PANEL, OPTIMUM)
    rule = Seen(LeastSquaresMC.fit(residual(moved[:20])), residual)
    for g in (0.0, 0.5):
        earned = (Payoff() - Neutrality(g))(Exits.of(moved, rule))
        assert earned.mean() < bound.mean + 2 * earned.std() / 30**0.5


@pytest.mark.parametrize("rule", [
    ShadowPrice.fit(PANEL, Impact(0.1), OPTIMUM), ShadowPrice.fit(PANEL, Impact(0.1)),
    Seen(LeastSquaresMC.fit(residual(PANEL)), residual), ExponentialOptimum(OPTIMUM, 20.0)],
    ids=["shadow price", "shadow price of least squares", "residual", "utility"])
def test_promises(rule):
    gaps = IntradayPanel.synthetic(D=3, T=8, N=40, missing=0.2, seed=8).with_costs(5, 1)
    steps, order = Exits.of(gaps, rule).steps, np.random.default_rng(0).permutation(40)
    check_no_lookahead(rule, gaps)
    np.testing.assert_array_equal(rule.exit_steps(gaps.stocks(order)), steps[:, order])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rule)).exit_steps(gaps), steps)
    assert Exits.of(gaps.with_costs(5000), rule).early.sum() == 0
    other = IntradayPanel.synthetic(D=2, T=5, N=9)
    with pytest.raises(ValueError, match="panel has 5 snapshots"): rule.exit_steps(other)


def test_bad_arguments_are_named():
    for make, why, kind in (
            (lambda: ShadowPrice.fit(PANEL, Payoff()), "impact is a Payoff: give an Impact", TypeError),
            (lambda: ShadowPrice.fit(PANEL, Impact([0.1])), "kappa has 1 numbers, but the days have 8", ValueError),
            (lambda: ShadowPrice.fit(PANEL, Impact(0.1), 3), "fit is a int: give an ExactOptimum", TypeError),
            (lambda: ExactOptimum([0.5, 1], prices=[1.0]), r"prices has shape \(1,\): give 2 numbers", ValueError),
            (lambda: ExactOptimum([0.5, 1], prices=[1.0, np.inf]), "prices has numbers that are not", ValueError),
            (lambda: ExponentialOptimum(OPTIMUM, -1), "a is -1: give a finite number above 0", ValueError)):
        with pytest.raises(kind, match=why): make()


def test_lots_carry_everything_along():
    gaps = IntradayPanel.synthetic(D=3, T=6, N=12, missing=0.2, seed=2).with_costs(10, 2)
    fours, steps = gaps.lots(4), OPTIMUM_OF_SIX.exit_steps(gaps)
    assert fours.tickers[:5].tolist() == ["S000/1", "S000/2", "S000/3", "S000/4", "S001/1"]
    np.testing.assert_array_equal(fours.extra[0, 0, :5, 0], [1, 2, 3, 4, 1])
    np.testing.assert_array_equal(fours.lots(2).extra[0, 0, :3], [[1, 1], [1, 2], [2, 1]])
    np.testing.assert_array_equal(OPTIMUM_OF_SIX.exit_steps(fours), np.repeat(steps, 4, axis=1))  # all lots at once
    for term in (Payoff(), Impact(0.1), Neutrality(0.5)):
        np.testing.assert_allclose(term(Exits.of(fours, np.repeat(steps, 4, axis=1))), term(Exits.of(gaps, steps)),
                                   rtol=1e-5, atol=1e-9)
    assert IntradayPanel(**fours.arrays).fingerprint() == fours.fingerprint()
    for k, kind in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(kind, match=f"k is {k}: give a whole number, 1 or more"): gaps.lots(k)
    with pytest.raises(ValueError, match="too small for float32"):
        gaps.with_arrays(weights=np.full_like(gaps.weights, 1e-45)).lots(4)
