"""The book as a whole: what holds for the payoff holds for every objective, for limits, starts and exits by chance."""
import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from eod_exit_ppo import (Exits, ExponentialUtility, FactorizedPPOEOD, Impact, IntradayPanel, LearnedPolicy,
                          LeastSquaresMC, Limits, Neutrality, Payoff, PPOConfig, Risk, Threshold, WalkForward,
                          check_no_lookahead, compare, payoff, replay, walk_forward)
from eod_exit_ppo.objective import PAYOFF, PanelDays, Term, exited_shares
from eod_exit_ppo.terms import parse_objective


def spread_out(x, days): return ((days.weight.abs()[:, None] * x).sum(2) / 2).square().sum(1)


OBJECTIVES = {
    "impact": Payoff() - Impact(0.05, close=0.01), "neutrality": Payoff() - Neutrality(0.5),
    "risk": Payoff() - Risk(20), "utility": ExponentialUtility(20),
    "several": Payoff() - 0.5 * Impact(0.1) - Neutrality(0.1),
    "own": Payoff() - spread_out}
SMALL = PPOConfig(epochs=3, rollouts_per_epoch=4, hidden=8, eval_every=10, initial_exit=0.3)
DAYS = IntradayPanel.synthetic(D=24, T=5, N=20, seed=3, market=0.01, missing=0.05).with_costs(3, 1)


@pytest.fixture(params=OBJECTIVES)
def objective(request): return OBJECTIVES[request.param]


def trained(objective, **more):
    agent = FactorizedPPOEOD.from_panel(DAYS[:16], DAYS[16:], SMALL, objective=objective, **more)
    agent.train(progress=False)
    return agent


def test_live_days_end_as_the_backtest(objective):
    policy = trained(objective, limits=Limits(0.3, 0.5)).policy
    np.testing.assert_array_equal(replay(policy, DAYS[16:]), policy.exit_steps(DAYS[16:]))


def test_resumed_as_if_nothing_had_happened(objective, tmp_path):
    class Interrupted(Exception): pass
    def stop(agent):
        if len(agent.history) == 1: raise Interrupted
    agent = FactorizedPPOEOD.from_panel(DAYS[:16], DAYS[16:], SMALL, objective=objective, start=LeastSquaresMC.fit)
    with pytest.raises(Interrupted): agent.train(progress=False, callback=stop)
    agent._call["done"] = 1
    agent.save(tmp_path / "a.pt")
    own = dict(objective=objective) if objective is OBJECTIVES["own"] else {}
    again = FactorizedPPOEOD.load(tmp_path / "a.pt", DAYS[:16], DAYS[16:], **own)
    again.train(progress=False, resume=True)
    whole = trained(objective, start=LeastSquaresMC.fit)
    for a, b in zip(again.model.state_dict().values(), whole.model.state_dict().values()): assert torch.equal(a, b)


@pytest.mark.parametrize("recipe", ["per_stock", "joint"])
def test_both_recipes_learn_every_objective(objective, recipe):
    config = getattr(PPOConfig, recipe)(epochs=2, rollouts_per_epoch=4, hidden=8, batch_size=16, ppo_epochs=1,
                                        eval_every=9, stock_subsample=None)
    agent = FactorizedPPOEOD.from_panel(DAYS, config=config, objective=objective)
    before = {k: v.clone() for k, v in agent.model.state_dict().items()}
    agent.train(progress=False)
    assert any(not torch.equal(before[k], v) for k, v in agent.model.state_dict().items())
    assert agent.history.objective.notna().all()


def test_no_look_ahead(objective):
    policy = trained(objective, limits=Limits(max_net=0.2), start=LeastSquaresMC.fit).policy
    check_no_lookahead(policy, DAYS[16:20])


@pytest.fixture(scope="module")
def balanced():
    config = replace(SMALL, balance=200.0)
    agent = FactorizedPPOEOD.from_panel(DAYS[:16], DAYS[16:], config, objective=OBJECTIVES["neutrality"])
    agent.train(progress=False)
    return agent


@pytest.mark.parametrize("draw", [None, 5])
def test_exits_that_answer_each_other_live_as_in_the_backtest(balanced, draw):
    policy, days = balanced.policy, DAYS[16:]
    np.testing.assert_array_equal(replay(policy, days, draw=draw), policy.exit_steps(days, draw=draw))
    order = np.random.default_rng(0).permutation(days.N)
    np.testing.assert_array_equal(policy.exit_steps(days.stocks(order), draw=draw),
                                  policy.exit_steps(days, draw=draw)[:, order])
    check_no_lookahead(policy, days[:4])


def test_exits_that_answer_each_other_leave_less_net(balanced, tmp_path):
    policy, days = balanced.policy, DAYS[16:]
    def net(policy): return np.abs(Exits.of(days, policy.exit_steps(days, draw=1)).exposure()["net"][:, :-1]).mean()
    alone = copy.copy(policy)
    alone.balance = 0.0
    assert net(policy) < 0.6 * net(alone)
    balanced.save(tmp_path / "a.pt")
    for again in (FactorizedPPOEOD.load(tmp_path / "a.pt").policy, LearnedPolicy.load(tmp_path / "a.pt")):
        assert again.balance == 200.0
        for draw in (None, 1): np.testing.assert_array_equal(again.exit_steps(days, draw=draw),
                                                             policy.exit_steps(days, draw=draw))


def test_walks_are_told_apart_by_objective(objective, tmp_path):
    how = dict(config=SMALL, splitter=WalkForward(10, 7, 0), seeds=1, jobs=1, progress=False, folder=tmp_path / "fits")
    first = walk_forward(DAYS, objective=objective, limits=Limits(max_net=0.3), **how)
    again = walk_forward(DAYS, objective=objective, limits=Limits(max_net=0.3), **how)
    np.testing.assert_array_equal(first.exit_steps["learned"], again.exit_steps["learned"])
    with pytest.raises(ValueError, match="learned"): walk_forward(DAYS, limits=Limits(max_net=0.3), **how)
    with pytest.raises(ValueError, match="learned"): walk_forward(DAYS, objective=objective, **how)


def test_compare_shows_the_objective_and_its_terms(objective):
    rule = Threshold(0.01)
    table = compare({"rule": rule}, DAYS, objective=objective, n_boot=200)
    exits = Exits.of(DAYS, rule)
    np.testing.assert_allclose(table.objective.iloc[0], objective(exits).mean())
    parts = getattr(objective, "parts", ())
    if parts: np.testing.assert_allclose(sum(c * table[f"term {t!r}"].iloc[0] for c, t in parts),
                                         table.objective.iloc[0], atol=1e-9)
    assert table.objective_low.iloc[0] <= table.objective_gain.iloc[0] <= table.objective_high.iloc[0]


def test_costs_come_off_the_payoff_of_every_objective():
    free, costly = (Exits.of(p, np.where(p.tradable[:, 0], 0, p.T - 1)) for p in (DAYS.with_costs(), DAYS))
    for term in (Payoff() - Impact(0.1), Payoff() - Neutrality(1)):
        np.testing.assert_allclose(term(free) - term(costly), free.payoff() - costly.payoff(), atol=1e-7)
    assert (free.payoff() > costly.payoff()).all()


CURVED = [Payoff() - Impact(0.1), Payoff() - Neutrality(0.5), ExponentialUtility(20.0), Payoff() - spread_out,
          Payoff() - 2 * Impact([0.3, 0.2, 0.1]) - Neutrality(0.2)]


@pytest.mark.parametrize("term", CURVED, ids=repr)
def test_expected_policy_gradient_is_the_gradient_of_the_expected_objective(term: Term):
    few = PanelDays(IntradayPanel.synthetic(D=1, T=3, N=3, seed=9))
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    def chance(steps):
        p = torch.sigmoid(logits)
        return torch.stack([p[0], (1 - p[0]) * p[1], (1 - p[0]) * (1 - p[1])]).gather(0, steps)[0]
    mean, surrogate, w = 0, 0, few.weight[0].abs().double()
    for outcome in itertools.product(range(3), repeat=3):
        steps = torch.tensor([outcome])
        x = exited_shares(steps, few).double()
        credit = term.difference(x, few).gather(1, steps[:, None])[0, 0]
        mean = mean + chance(steps).prod() * term.value(x, few)[0]
        surrogate = surrogate + chance(steps).prod().detach() * (chance(steps).log() * credit * w).sum()
    true, found = (torch.autograd.grad(y, logits)[0] for y in (mean, surrogate))
    torch.testing.assert_close(found, true, atol=1e-9, rtol=1e-6)


def test_the_payoffs_credit_is_the_same_whatever_is_asked():
    days, steps = PanelDays(DAYS), torch.from_numpy(Exits.of(DAYS, Threshold(0.005)).steps)
    x = exited_shares(steps, days)
    for credit in (PAYOFF.credit(x, days), PAYOFF.difference(x, days), (1.0 * Payoff()).credit(x, days)):
        assert torch.equal(credit, PAYOFF.credit(None, days))
    np.testing.assert_array_equal((1.0 * Payoff())(Exits.of(DAYS, steps.numpy())), payoff(DAYS, steps.numpy()))


def test_by_chance_a_stock_is_drawn_alike_whatever_stands_beside_it():
    policy = trained(None).policy
    some, order = policy.exit_steps(DAYS, draw=4), np.random.default_rng(0).permutation(DAYS.N)
    np.testing.assert_array_equal(policy.exit_steps(DAYS.stocks(order), draw=4), some[:, order])
    np.testing.assert_array_equal(policy.exit_steps(DAYS[7], draw=4), some[[7]])
    np.testing.assert_array_equal(replay(policy, DAYS[16:], draw=4), some[16:])
    assert (policy.exit_steps(DAYS, draw=5) != some).any()


def test_an_untrained_agent_decides_as_the_rule_it_starts_from():
    for fit in (LeastSquaresMC.fit, Threshold.fit):
        agent = FactorizedPPOEOD.from_panel(DAYS, start=fit, config=SMALL)
        np.testing.assert_array_equal(agent.policy.exit_steps(DAYS), fit(DAYS).exit_steps(DAYS))


def test_the_text_of_an_objective_is_the_objective(objective):
    if objective is not OBJECTIVES["own"]: assert parse_objective(repr(objective)) == objective


class ForTwenty(Threshold):
    "A rule that knows panels of twenty stocks alone, so no made-up panel can try it."
    def advantage(self, panel):
        if panel.N != 20: raise ValueError("twenty stocks")
        return super().advantage(panel)


def odd(x, days):
    "A worth of one's own, likewise."
    if x.shape[2] != 20: raise ValueError("twenty stocks")
    return (x * days.weight.abs()[:, None]).sum((1, 2))


@pytest.mark.parametrize("given", [dict(start=ForTwenty(0.01)), dict(objective=odd)], ids=lambda x: next(iter(x)))
def test_what_cannot_be_checked_is_said(given, tmp_path):
    days = IntradayPanel.synthetic(D=6, T=4, N=20)
    agent = FactorizedPPOEOD.from_panel(days, config=replace(SMALL, epochs=1), **given)
    agent.train(progress=False)
    agent.save(tmp_path / "agent.pt")
    with pytest.warns(UserWarning, match="can't be checked: it could not be tried on a made-up panel"):
        FactorizedPPOEOD.load(tmp_path / "agent.pt", **given)
