"Learn when to exit each position of a long/short equity book before the close."
__version__ = "0.1.0"

import gc

_collecting = gc.isenabled()
gc.disable()  # nothing of what is imported is garbage, and to look for some takes a fifth of the time
try:
    # methods of the agent, of the live day and of the panel
    from . import checkpoint, fills, frames, play, storage  # noqa: F401
    from .agent import FactorizedPPOEOD, main
    from .bars import synthetic_bars
    from .baselines import (
        ExactOptimum, ExitAt, Hindsight, Hold, LeastSquaresMC, LevelRule, Threshold)
    from .data import IntradayPanel
    from .direct import DirectGradient
    from .env import ExitEnv, ExitVectorEnv
    from .evaluate import compare
    from .features import FeatureSet, check_causal, make_features_and_context
    from .folds import WalkForward
    from .advantages import gae
    from .limits import Limits
    from .live import LiveDay, replay
    from .lookahead import check_no_lookahead
    from .market import daily_closes, from_bars, momentum, reversal
    from .model import ActorCritic
    from .exits import Exits, exposure, first_exit, may_act
    from .objective import Objective, Payoff, Term, payoff
    from .config import METRICS, PPOConfig
    from .plots import plot_history
    from .policy import LearnedPolicy
    from .sb3 import from_sb3
    from .synthetic import make_synthetic_data
    from .terms import ExponentialUtility, Impact, Neutrality, Risk
    from .walk import walk_forward
    from .weights import normalize_neutral
except ModuleNotFoundError as error:
    if (error.name or "").startswith(__name__):
        raise
    raise ModuleNotFoundError(
        f"eod_exit_ppo needs {error.name}, which this Python does not have: pip install eod_exit_ppo brings it; "
        "in a clone, make demo installs everything and .venv/bin/python has it", name=error.name) from None
finally:
    if _collecting: gc.enable()
del gc

__all__ = [
    "METRICS",
    "ActorCritic",
    "DirectGradient",
    "ExactOptimum",
    "ExitAt",
    "ExitEnv",
    "ExitVectorEnv",
    "Exits",
    "ExponentialUtility",
    "FactorizedPPOEOD",
    "FeatureSet",
    "Hindsight",
    "Hold",
    "Impact",
    "IntradayPanel",
    "LearnedPolicy",
    "LeastSquaresMC",
    "LevelRule",
    "Limits",
    "LiveDay",
    "Neutrality",
    "Objective",
    "PPOConfig",
    "Payoff",
    "Risk",
    "Term",
    "Threshold",
    "WalkForward",
    "check_causal",
    "check_no_lookahead",
    "compare",
    "daily_closes",
    "exposure",
    "first_exit",
    "from_bars",
    "from_sb3",
    "gae",
    "main",
    "make_features_and_context",
    "make_synthetic_data",
    "may_act",
    "momentum",
    "normalize_neutral",
    "payoff",
    "plot_history",
    "replay",
    "reversal",
    "synthetic_bars",
    "walk_forward",
]
