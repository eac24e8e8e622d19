"""Every public name is there, from its module and from the package, with the documented call."""
import importlib
import inspect

import pytest

import eod_exit_ppo

HOME = {
    "make_synthetic_data": "data", "IntradayPanel": "data", "normalize_neutral": "weights",
    "make_features_and_context": "features", "payoff": "objective", "ActorCritic": "model", "gae": "advantages",
    "PPOConfig": "ppo", "FactorizedPPOEOD": "agent", "main": "agent",
    "compare": "evaluate", "from_bars": "market", "walk_forward": "walk", "LiveDay": "live",
}
FIRST_ARGUMENTS = {  # in this order, with these defaults
    "make_synthetic_data": dict(D=300, T=8, N=800, seed=123),
    "normalize_neutral": dict(w=...),
    "make_features_and_context": dict(signals=..., rets=..., d=..., t=..., exited_mask=..., w=...),
    "ActorCritic": dict(stock_feat_dim=..., context_dim=..., hidden=256),
    "FactorizedPPOEOD": dict(signals=..., intraday_returns=..., init_weights=..., gamma=1.0, lam=0.95, device="cpu",
                             seed=7),
    "payoff": dict(panel=..., exit_steps=...),
}


@pytest.mark.parametrize("name, module", HOME.items())
def test_importable_from_module_and_package(name, module):
    thing = getattr(importlib.import_module(f"eod_exit_ppo.{module}"), name)
    assert getattr(eod_exit_ppo, name) is thing
    assert name in eod_exit_ppo.__all__
    assert inspect.getdoc(thing)


@pytest.mark.parametrize("name", FIRST_ARGUMENTS)
def test_signature(name):
    parameters = list(inspect.signature(getattr(eod_exit_ppo, name)).parameters.values())
    found = {p.name: ... if p.default is p.empty else p.default for p in parameters}
    wanted = FIRST_ARGUMENTS[name]
    assert dict(list(found.items())[: len(wanted)]) == wanted
