"""Numbers at the edge: tiny and huge, constant, missing, alone; and what happens when one is not a number at all."""
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from eod_exit_ppo.agent import FactorizedPPOEOD
from eod_exit_ppo.baselines import ExactOptimum, Hold, Threshold
from eod_exit_ppo.policy import LearnedPolicy
from eod_exit_ppo.data import IntradayPanel
from eod_exit_ppo.direct import DirectGradient
from eod_exit_ppo.features import FeatureSet, path_features
from eod_exit_ppo.objective import payoff
from eod_exit_ppo.ppo import PPOConfig

pytestmark = pytest.mark.filterwarnings("error", "ignore:the book lacks a side:UserWarning")
SMALL = dict(epochs=2, hidden=4, rollouts_per_epoch=4, ppo_epochs=2, batch_size=8, eval_every=1)
DEFINED = ["payoff", "eval_payoff", "entropy", "saturated", "lr", "seconds", "pi_loss", "v_loss", "grad_norm",
           "approx_kl",
           "clipfrac"]


def panel_of(returns=1.0, signals=1.0, weights=1.0, D=6, T=4, N=8, seed=1, **changes):
    "Synthetic days with each of the three arrays on a scale of its own."
    made = IntradayPanel.synthetic(D=D, T=T, N=N, seed=seed)
    scaled = dict(returns=made.returns * np.float32(returns), signals=made.signals * np.float32(signals),
                  weights=made.weights * np.float32(weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return replace(made, **{"tradable": None, **scaled, **changes})


def trained(panel, features=None, **config):
    agent = FactorizedPPOEOD.from_panel(panel, config=PPOConfig(**{**SMALL, **config}), features=features)
    agent.train(progress=False)
    return agent


def is_sound(agent, panel, acts=True):
    "No NaN in weights, history or decisions."
    assert all(x.isfinite().all() for x in agent.model.state_dict().values())
    assert all(x.isfinite().all() for s in agent.optimizer.state_dict()["state"].values() for x in s.values())
    h = agent.history
    for name in DEFINED if acts else ["payoff", "lr"]: assert np.isfinite(h[name]).all(), (name, h[name])
    assert not np.isinf(h.to_numpy()).any()
    steps = agent.policy.exit_steps(panel)
    assert np.isfinite(payoff(panel, steps)).all()
    for d in range(panel.D):
        chance = agent.policy.exit_probability(panel[d], np.ones(panel.N, bool), 0)
        assert ((chance >= 0) & (chance <= 1)).all()
    return steps


# ---- scales ----
EXTREMES = [1e-12, 1e-6, 1e6]


@pytest.mark.parametrize("credit", ["stock", "book"])
@pytest.mark.parametrize("features", ["path", "base"])
@pytest.mark.parametrize("what", ["returns", "signals", "weights", "all"])
def test_scales(what, features, credit):
    for scale in EXTREMES:
        scales = dict.fromkeys(["returns", "signals", "weights"] if what == "all" else [what], scale)
        panel = panel_of(**scales)
        norm = "standardize" if credit == "book" else "scale"
        is_sound(trained(panel, features=features, credit=credit, adv_norm=norm), panel)


@pytest.mark.parametrize("returns, signals", [(1e-12, 1e6), (1e6, 1e-12), (1e-30, 1e12), (1e12, 1e-30)])
def test_scales_against_one_another(returns, signals):
    panel = panel_of(returns, signals, 1e6)
    is_sound(trained(panel), panel)
    policy = DirectGradient.fit(panel, hidden=4, steps=3)
    assert np.isfinite(payoff(panel, policy.exit_steps(panel))).all()


def test_sizes_mixed_in_one_book():
    "Some stocks a million million times as wild as the others."
    wild = np.where(np.arange(8) % 2, 1e-6, 1e6).astype(np.float32)
    made = panel_of()
    for changes in (dict(returns=made.returns * wild), dict(signals=made.signals * wild),
                    dict(weights=made.weights * wild)):
        panel = panel_of(**changes)
        for credit in ("stock", "book"): is_sound(trained(panel, credit=credit), panel)


@pytest.mark.parametrize("power", [-40, 20])
def test_training_in_another_unit(power):
    "Returns, signals and weights in units of a power of two (about 1e-12 and 1e6): the same network to the last bit."
    one, unit = panel_of(), 2.0**power
    other = panel_of(unit, unit, unit)
    a, b = trained(one), trained(other)
    for k, x in a.model.state_dict().items(): assert torch.equal(x, b.model.state_dict()[k]), k
    np.testing.assert_array_equal(a.policy.exit_steps(one), b.policy.exit_steps(other))
    np.testing.assert_array_equal(a.history.payoff * unit, b.history.payoff)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3, 1e3, 1e6])
def test_decisions_do_not_know_the_unit(scale):
    "Path features in any unit: the same exit probabilities, up to rounding, from one and the same policy."
    policy, held = trained(panel_of(D=12, N=16)).policy, np.ones(16, bool)
    one = panel_of(D=12, N=16, seed=2)
    for changes in (dict(returns=scale), dict(signals=scale), dict(weights=scale)):
        other = panel_of(D=12, N=16, seed=2, **changes)
        for t in range(3):
            for d in range(3):
                np.testing.assert_allclose(policy.exit_probability(one[d], held, t),
                                           policy.exit_probability(other[d], held, t), rtol=0, atol=1e-5)


# ---- nothing to tell apart, nothing there, nobody else ----
CONSTANT = {
    "returns": dict(returns=np.full((6, 4, 8), 0.01, np.float32)),
    "no returns": dict(returns=np.zeros((6, 4, 8), np.float32)),
    "signals": dict(signals=np.full((6, 8), 3, np.float32)), "no signals": dict(signals=np.zeros((6, 8), np.float32)),
    "both": dict(signals=np.full((6, 8), 3, np.float32), returns=np.full((6, 4, 8), 0.01, np.float32)),
    "weights": dict(weights=np.ones((6, 8), np.float32)),
}


@pytest.mark.parametrize("features", ["path", "base"])
@pytest.mark.parametrize("name", CONSTANT)
def test_constant(name, features):
    panel = panel_of(**CONSTANT[name])
    for credit in ("stock", "book"): is_sound(trained(panel, features=features, credit=credit), panel)


def test_constant_features():
    "A feature set that says the same of everybody, always; with and without a context."
    panel = panel_of()
    def same(p): return np.ones((*p.shape, 3), np.float32)
    def same_too(p): return same(p), np.full((p.D, p.T, 2), 1e6, np.float32)
    for build in (same, same_too):
        for credit in ("stock", "book"): is_sound(trained(panel, features=build, credit=credit), panel)


def holes(where):
    def make():
        returns = np.array(panel_of().returns)
        returns[where] = np.nan
        return panel_of(returns=returns)
    return make


MISSING = {
    "first snapshot": holes(np.s_[:, 0]), "a middle one": holes(np.s_[:, 2]), "the close": holes(np.s_[:, 3]),
    "a whole day": holes(np.s_[1]), "a stock": holes(np.s_[:, :, 0]), "all but one stock": holes(np.s_[:, :, 1:]),
    "all but one cell": holes(np.arange(6 * 4 * 8).reshape(6, 4, 8) != 9),
}


@pytest.mark.parametrize("features", ["path", "base"])
@pytest.mark.parametrize("name", MISSING)
def test_missing(name, features):
    panel = MISSING[name]()
    acts = name not in ("all but one cell",)
    for credit in ("stock", "book"):
        agent = trained(panel, features=features, credit=credit, ppo_epochs=1)
        is_sound(agent, panel, acts)


def test_everything_is_missing():
    "Nobody can act, nothing is learned: the payoff is 0, decisions hold, and no number is made up."
    panel = panel_of(returns=np.full((6, 4, 8), np.nan, np.float32))
    for features in ("path", "base"):
        for credit in ("stock", "book"):
            agent = trained(panel, features=features, credit=credit, ppo_epochs=1)
            assert (is_sound(agent, panel, acts=False) == 3).all() and (agent.history.payoff == 0).all()


def test_one_that_can_be_traded():
    made = panel_of()
    for place in (np.s_[:, :, 0], np.s_[:, 1, 0], np.s_[0, 0, 0]):
        tradable = np.zeros(made.shape, bool)
        tradable[place] = True
        panel = panel_of(tradable=tradable)
        for credit in ("stock", "book"):
            steps = is_sound(trained(panel, credit=credit, epochs=3, ppo_epochs=1), panel, acts=False)
            assert (steps[:, 1:] == 3).all()


@pytest.mark.parametrize("features", ["path", "base"])
@pytest.mark.parametrize("D, T, N", [(1, 1, 1), (1, 1, 8), (1, 4, 1), (6, 1, 1), (6, 4, 1), (6, 1, 8), (1, 2, 2),
                                     (2, 2, 1)])
def test_smallest(D, T, N, features):
    panel = panel_of(D=D, T=T, N=N)
    for credit in ("stock", "book"):
        is_sound(trained(panel, features=features, credit=credit, ppo_epochs=1), panel, acts=T > 1)


@pytest.mark.parametrize("name", [k for k in CONSTANT if k != "weights"])
def test_direct_gradient(name):
    panel = panel_of(**CONSTANT[name])
    assert np.isfinite(payoff(panel, DirectGradient.fit(panel, hidden=4, steps=3).exit_steps(panel))).all()


# ---- not a number ----
def poisoned(name, at):
    "A callback that spoils a weight of the network after an epoch."
    def callback(agent):
        if len(agent.history) == at: dict(agent.model.named_parameters())[name].data.view(-1)[0] = np.nan
    return callback


@pytest.mark.parametrize("credit", ["stock", "book"])
@pytest.mark.parametrize("name", ["stock_fc2.weight", "ctx_fc1.weight", "v_fc2.bias", "logit_head.weight"])
def test_what_is_not_finite_is_told(name, credit, tmp_path):
    "Epoch, pass, minibatch, what to look at; and the checkpoint of the epoch before is whole."
    if (name, credit) == ("v_fc2.bias", "stock"): pytest.skip("not used where each stock has a value of its own")
    panel, file = panel_of(), tmp_path / "agent.pt"
    config = PPOConfig(**{**SMALL, "epochs": 6, "credit": credit, "eval_every": 99})
    agent = FactorizedPPOEOD.from_panel(panel, config=config)
    with pytest.raises(FloatingPointError) as told:
        agent.train(progress=False, callback=poisoned(name, 3), checkpoint=file, checkpoint_every=2)
    said = str(told.value)
    assert re.search(r"epoch 4\b", said) and re.search(r"minibatch 1 of \d+", said), said
    assert "network" in said and "look there" in said and str(file) in said and "epoch 2" in said, said
    kept = FactorizedPPOEOD.load(file, panel)
    assert len(kept.history) == 2
    is_sound(kept, panel, acts=False)
    kept.train(progress=False, resume=True)             # and it goes on where nothing is wrong
    assert len(kept.history) == 6


def test_nothing_broken_is_saved(tmp_path):
    "Weights that the last step of a call makes infinite are told, not saved."
    panel, file = panel_of(), tmp_path / "agent.pt"
    agent = FactorizedPPOEOD.from_panel(panel, config=PPOConfig(**{**SMALL, "batch_size": 10**6, "ppo_epochs": 1}))
    agent.train(epochs=1, progress=False, checkpoint=file)
    before = file.read_bytes()
    agent.config = replace(agent.config, lr=3e38, max_grad_norm=1e30)
    with torch.no_grad():
        for p in agent.model.parameters(): p.mul_(1e3)
    with pytest.raises(FloatingPointError, match="epoch [23]"): agent.train(epochs=3, progress=False, checkpoint=file,
                                                                            checkpoint_every=1)
    if file.read_bytes() != before: is_sound(FactorizedPPOEOD.load(file, panel), panel, acts=False)


def test_a_huge_step_is_told():
    panel = panel_of()
    for credit in ("stock", "book"):
        agent = FactorizedPPOEOD.from_panel(panel,
                                            config=PPOConfig(**{**SMALL, "credit": credit, "lr": 1e30, "epochs": 3}))
        with pytest.raises(FloatingPointError,
                           match="epoch [123], .*(lower lr|look there)"): agent.train(progress=False)


def test_a_broken_network_decides_nothing():
    "A policy from weights that are not finite would hold everything in silence: it is refused."
    agent = FactorizedPPOEOD.from_panel(panel_of(), config=PPOConfig(**SMALL))
    agent.model.logit_head.weight.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="logit_head.weight.* finite"): LearnedPolicy(agent.model, path_features)


def test_features_that_are_not_finite():
    def bad(p): return np.full((*p.shape, 1), np.nan)
    with pytest.raises(ValueError, match="features 'bad', stock column 0, has 32 non-finite .*day 0 .*snapshot 0 "):
        trained(panel_of(), features=FeatureSet("bad", bad))


@pytest.mark.parametrize("T, start", [(14, None), (78, None), (390, None), (78, "rule")])
def test_a_fresh_policy_sees_all_of_a_long_day(T, start):
    "Of what may be exited early, a third is held to the last snapshots; with a rule to start from, the rule decides."
    panel = IntradayPanel.synthetic(D=4, T=T, N=12)
    rule = Threshold.fit(panel) if start else None
    policy, everybody = FactorizedPPOEOD.from_panel(panel, start=rule).policy, np.ones(12, bool)
    if start: return np.testing.assert_array_equal(policy.exit_steps(panel), rule.exit_steps(panel))
    held = np.prod([1 - policy.exit_probability(panel[0], everybody, t) for t in range(T - 1)], axis=0)
    assert 0.2 < held.mean() < 0.6, held


def test_a_very_long_day_is_learned():
    "A day of 100 snapshots, few stocks and a short training: nearly all of the optimum."
    days = IntradayPanel.synthetic(D=60, T=100, N=40)
    agent = FactorizedPPOEOD.from_panel(days[:40], config=PPOConfig(epochs=60, rollouts_per_epoch=4, eval_every=100))
    agent.train(progress=False)
    best, hold, learned = (payoff(days[40:], p.exit_steps(days[40:])).mean()
                           for p in (ExactOptimum.synthetic(60, 100, 40), Hold(), agent.policy))
    assert hold < 0.7 * best and learned > 0.95 * best, learned / best


def test_a_long_day_that_is_held_in_silence():
    "A training that ends with no exit at all says so on long days, and on long days alone."
    def told(T):
        config = PPOConfig(epochs=1, rollouts_per_epoch=2, initial_exit=1e-9, eval_every=100)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            FactorizedPPOEOD.from_panel(IntradayPanel.synthetic(D=4, T=T, N=12), None, config).train(progress=False)
        return [str(w.message) for w in caught]
    assert told(13) == []
    assert len(told(14)) == 1 and "days of 14 snapshots, nothing was exited" in told(14)[0]
