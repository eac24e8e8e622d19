"Learn when to leave each position of a long/short equity book before the close."
__version__ = "0.1.0"

try:
    from .data import IntradayPanel, make_synthetic_data
    from .features import make_features_and_context
    from .payoff import payoff
    from .weights import normalize_neutral
except ModuleNotFoundError as error:
    if (error.name or "").startswith(__name__):
        raise
    raise ModuleNotFoundError(
        f"eod_exit_ppo needs {error.name}, which this Python does not have: pip install eod_exit_ppo brings it; "
        "in a clone, make demo installs everything and .venv/bin/python has it", name=error.name) from None

__all__ = [
    "IntradayPanel",
    "make_features_and_context",
    "make_synthetic_data",
    "normalize_neutral",
    "payoff",
]
