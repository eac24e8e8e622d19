"""Every array group of tests/seed_golden.npz against the public package: data and payoff exactly, the rest to 1e-6."""
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from eod_exit_ppo import (
    ActorCritic,
    IntradayPanel,
    gae,
    make_features_and_context,
    make_synthetic_data,
    normalize_neutral,
    payoff,
)
from eod_exit_ppo.advantages import standardize
from eod_exit_ppo.ppo import ppo_loss

FILE = Path(__file__).parent / "seed_golden.npz"


class Golden:
    "The file's arrays, and which of them were asked for."

    def __init__(self):
        with np.load(FILE) as arrays: self.arrays = {k: arrays[k] for k in arrays.files}
        self.used = set()

    def __getitem__(self, name):
        self.used.add(name)
        return self.arrays[name]

    def tensor(self, name): return torch.from_numpy(self[name])

    def group(self, prefix):
        "Names that start with a prefix, without it."
        return [k.removeprefix(prefix) for k in self.arrays if k.startswith(prefix)]


def exact(found, expected):
    np.testing.assert_array_equal(found, expected)
    assert np.asarray(found).dtype == expected.dtype


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6, atol=1e-6)
    assert np.shape(found) == expected.shape


# ---- data: exact ----
def data_small(g):
    found = make_synthetic_data(*g["data_returns"].shape)
    for x, name in zip(found, ("signals", "returns", "init_weights")): exact(x, g[f"data_{name}"])


def data_default(g):
    signals, returns, weights = make_synthetic_data()
    assert signals.shape == weights.shape == (300, 800) and returns.shape == (300, 8, 800)
    exact(returns[0, :, :5], g["data_default_returns_day0"])
    exact(returns[-1, :, -5:], g["data_default_returns_last"])
    exact(signals[-1, -5:], g["data_default_signals_last"])


# ---- weights ----
def norm(g):
    names = {k.removesuffix("_in").removesuffix("_out") for k in g.group("norm_")}
    assert names == {"mixed", "long_only", "short_only", "zeros", "with_zeros"}
    for name in names:
        w, before = g[f"norm_{name}_in"], g[f"norm_{name}_in"].copy()
        close(normalize_neutral(w), g[f"norm_{name}_out"])
        close(normalize_neutral(np.stack([w, w]))[1], g[f"norm_{name}_out"])
        exact(w, before)


# ---- features ----
def one_step(g, returns):
    return make_features_and_context(g["data_signals"], returns, int(g["feat_day"]), int(g["feat_step"]),
                                     g["feat_exited"], g["feat_weights"])


def feat(g):
    stock, context = one_step(g, g["data_returns"])
    close(stock, g["feat_stock"])
    close(context, g["feat_context"])


def feat_nan(g):
    stock, context = one_step(g, g["feat_nan_returns"])
    close(stock, g["feat_nan_stock"])
    close(context, g["feat_nan_context"])


# ---- network ----
def network(g):
    state = {k: g.tensor(f"net_{k}") for k in g.group("net_") if not k.startswith(("in_", "eval_", "train_"))}
    B, N, n_features = g["net_in_stock"].shape
    model = ActorCritic(n_features, g["net_in_context"].shape[1] - 1, hidden=len(state["ctx_fc1.bias"]))
    model.load_state_dict(state, strict=True)
    return model, g.tensor("net_in_stock"), g.tensor("net_in_context")


@torch.no_grad()
def net_eval(g):
    model, stock, context = network(g)
    model.eval()
    close(model.forward_policy(stock, context), g["net_eval_logits"])
    close(model.forward_value(context), g["net_eval_value"])


@torch.no_grad()
def net_train(g):
    model, stock, context = network(g)
    model.train()
    close(model.forward_policy(stock, context), g["net_train_logits"])
    close(model.stock_bn1.running_mean, g["net_train_stock_bn1_mean_after"])
    close(model.stock_bn1.running_var, g["net_train_stock_bn1_var_after"])


# ---- advantages ----
def check_gae(g, pair):
    ends = torch.zeros(len(g["gae_rewards"]), dtype=torch.bool)
    ends[g.tensor("gae_day_ends") - 1] = True  # counted from 1
    gamma, lam = g[f"gae_{pair}_gamma_lam"].tolist()
    adv, ret = gae(g.tensor("gae_rewards"), g.tensor("gae_values"), ends, gamma, lam)
    close(standardize(adv), g[f"gae_{pair}_adv"])
    close(ret, g[f"gae_{pair}_ret"])


def gae_a(g): check_gae(g, "a")


def gae_b(g): check_gae(g, "b")


# ---- loss ----
def ppo(g):
    inputs = ("logits", "actions", "mask", "logp_old", "adv", "values", "ret")
    loss = ppo_loss(**{k: g.tensor(f"ppo_{k}") for k in inputs})
    for name, key in (("pi", "pi_loss"), ("v", "v_loss"), ("entropy", "entropy"), ("total", "total")):
        close(loss[name], g[f"ppo_{key}"])


# ---- payoff: exact ----
def pay(g):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one of the six days has no short side
        panel = IntradayPanel(g["data_signals"], g["data_returns"], g["data_init_weights"])
    first = g["pay_first_exit"]
    steps = np.where(first < 0, panel.T - 1, first)[None]  # -1: never left before the close
    exact(payoff(panel[int(g["pay_day"])], steps)[0], g["pay_reward"])


CHECKS = (data_small, data_default, norm, feat, feat_nan, net_eval, net_train, gae_a, gae_b, ppo, pay)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_golden(check):
    check(Golden())


def test_every_array_is_held_against_the_package():
    golden = Golden()
    for check in CHECKS: check(golden)
    assert golden.used == set(golden.arrays)


def test_a_changed_number_is_noticed():
    "Each array matters: change it, and its check fails."
    uses = {}
    for check in CHECKS:
        golden = Golden()
        check(golden)
        for name in golden.used: uses.setdefault(name, []).append(check)
    inputs_and_outputs = ("net_in_", "net_eval_", "net_train_")
    for name, array in golden.arrays.items():
        # in evaluation mode the file's network has no live unit, so that not all of its weights reach the outputs
        if name.startswith("net_") and not name.startswith(inputs_and_outputs): continue
        golden = Golden()
        golden.arrays[name] = ~array if array.dtype == bool else (-array - 1).astype(array.dtype)
        with pytest.raises((AssertionError, ValueError, IndexError)):
            for check in uses[name]: check(golden)
