"""Vendors' bars as panels, the dirt left in. The files are not part of the project: tests skip where they are not."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eod_exit_ppo import IntradayPanel

DATA = Path(__file__).parents[2] / "shared" / "data"
FILES = {"sp500_2017_5min.parquet": [f"{h:02d}:{m:02d}" for h in range(10, 17) for m in (0, 30) if h < 16 or m == 0],
         "lean_hourly.parquet": [f"{h:02d}:00" for h in range(9, 16)]}


def real_days(name):
    """Prices (D, T, N), prior closes (D, N) and a reversal book as a panel.

    A third of the stocks, those that moved least, are quoted and not held."""
    if not (DATA / name).is_file(): pytest.skip(f"{name} is not here")
    bars, times = pd.read_parquet(DATA / name), FILES[name]
    bars["time"] = bars.time.astype(str).str[:5]
    wide = bars[bars.time.isin(times)].pivot_table(index="date", columns=["time", "ticker"], values="close")
    tickers = sorted(bars.ticker.unique())
    prices = wide.reindex(columns=pd.MultiIndex.from_product([times, tickers])).to_numpy()
    prices = prices.reshape(len(wide), len(times), len(tickers)).astype(np.float64)
    prior, signal = prices[1:-1, -1], -(prices[1:-1, -1] / prices[:-2, -1] - 1)
    prices, known = prices[2:], np.isfinite(signal) & np.isfinite(prior)
    signal, prior = np.where(known, np.clip(signal, -0.1, 0.1), 0), np.where(known, prior, np.nan)
    bold = known & (pd.DataFrame(np.where(known, abs(signal), np.nan)).rank(axis=1, pct=True).to_numpy() > 1 / 3)
    returns = (prices / prior[:, None] - 1).astype(np.float32)
    return prices, prior, IntradayPanel(signal, returns, np.where(bold, signal, 0), dates=wide.index[2:], times=times,
                                        tickers=tickers)
