"""Real vendor bars, with their dirt. Skipped where the files are not there: they are not part of the project."""
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eod_exit_ppo.market import daily_closes, from_bars, momentum, reversal

DATA = Path(__file__).parents[2] / "shared" / "data"
FIVE, HOUR = DATA / "sp500_2017_5min.parquet", DATA / "lean_hourly.parquet"
five = pytest.mark.skipif(not FIVE.exists(), reason=f"no {FIVE.name} beside the project")
hour = pytest.mark.skipif(not HOUR.exists(), reason=f"no {HOUR.name} beside the project")
MISSING = ["2017-05-02", "2017-05-10", "2017-06-01", "2017-06-06", "2017-06-22", "2017-06-26", "2017-07-06",
           "2017-07-11", "2017-07-24", "2017-07-26"]                                   # sessions that the file lacks
AFTER = ["2017-04-18", "2017-05-03", "2017-05-11", "2017-06-02", "2017-06-07", "2017-06-23", "2017-06-27", "2017-07-07",
         "2017-07-12", "2017-07-25", "2017-07-27"]                                     # so no prior close on these

HOLES = {"2017-05-09": (27, 2120), "2017-05-18": (218, 16950)}  # tickers and rows that the file has, of a book of 505


def flat(bars):
    "Everybody, every day, long and short in turn."
    dates, tickers = bars["date"].unique(), bars["ticker"].unique()
    sides = np.where(np.arange(len(tickers)) % 2, -1.0, 1.0)
    return pd.DataFrame(np.broadcast_to(sides, (len(dates), len(tickers))), dates, tickers)


def reconciles(report, bars, signals):
    "Rows in = rows used + rows left out, counted from outside."
    t = report.to_frame()
    counted = t[t["fate"].isin(["used", "left out"])].groupby("of", observed=True)["rows"].sum()
    assert counted["bars"] == len(bars) and counted["signals"] == signals.notna().sum().sum()
    assert t[t["of"] == "bars"].query("fate == 'used' or fate == 'left out'")["rows"].gt(0).all()


@pytest.fixture(scope="module")
def bars():
    return pd.read_parquet(FIVE)


@pytest.fixture(scope="module")
def loaded(bars):
    return from_bars(bars, flat(bars), half_days="keep")


@five
def test_sessions_missing_half_day_and_splits(bars, loaded):
    panel, report = loaded
    reconciles(report, bars, flat(bars))
    dates = panel.dates.astype(str)
    assert panel.shape == (49, 13, 516)
    assert not set(dates) & {*MISSING, *AFTER, *HOLES} and {*dates, *AFTER, *HOLES} == set(bars["date"].unique())
    gaps = {(str(g.date.date()), g.ticker): round(g.ratio, 2) for g in report.gaps.itertuples()}
    assert gaps == {("2017-05-17", "BLL"): 0.5, ("2017-06-14", "XRX"): 4.0}
    for (day, ticker), _ in gaps.items():
        assert panel.weights[dates.tolist().index(day), panel.tickers.tolist().index(ticker)] == 0
    half = dates.tolist().index("2017-07-03")
    late = [t > "13:00" for t in panel.times[:-1]]
    assert not panel.tradable[half, :-1][late].any() and panel.tradable[half, -1].mean() > 0.9
    dropped, account = from_bars(bars, flat(bars))
    assert "2017-07-03" not in dropped.dates.astype(str) and "2017-07-05" in dropped.dates.astype(str)
    np.testing.assert_array_equal(dropped.returns, panel.returns[np.arange(49) != half])
    half = account.to_frame().query("reason == 'half day' and of == 'bars'")
    assert half["date"].astype(str).unique().tolist() == ["2017-07-03"]


@five
def test_days_on_which_most_of_the_file_is_missing(bars, loaded):
    t = loaded[1].to_frame().query("reason == 'hole in the file'").groupby(["of", "date"], observed=True)["rows"].agg(
        ["size", "sum"])
    for day, (tickers, rows) in HOLES.items():
        assert t.loc["bars", day].tolist() == [tickers, rows] and t.loc["signals", day].tolist() == [505, 505]
    assert len(t) == 2 * len(HOLES)
    panel, report = from_bars(bars, flat(bars), half_days="keep", min_bars=0)
    reconciles(report, bars, flat(bars))
    assert panel.D == 51 and set(HOLES) < set(panel.dates.astype(str))
    kept = ~np.isin(panel.dates.astype(str), list(HOLES))
    for name in ("returns", "tradable", "weights"):
        np.testing.assert_array_equal(getattr(panel, name)[kept], getattr(loaded[0], name))
    assert from_bars(bars, flat(bars), half_days="keep", min_bars=0.4)[0].D == 50       # 27 of 505, not 218


@five
def test_every_return_of_some_days_by_hand(bars):
    panel = from_bars(bars, flat(bars), half_days="keep", min_bars=0)[0]
    for day, before in (("2017-04-19", "2017-04-18"), ("2017-05-09", "2017-05-08"), ("2017-07-03", "2017-06-30")):
        d = panel.dates.astype(str).tolist().index(day)
        today, yesterday = (bars[bars["date"] == x].pivot(index="time", columns="ticker", values="close")
                            for x in (day, before))
        prior = yesterday.ffill().iloc[-1].reindex(panel.tickers)
        np.testing.assert_array_equal(panel.weights[d] != 0, prior.notna())
        for t, at in enumerate(panel.times[:-1]):
            since = (pd.Timestamp(str(at)) - pd.Timedelta("15min")).strftime("%H:%M")
            window = today[(today.index <= at) & (today.index >= since)]
            last = window.ffill().iloc[-1] if len(window) else pd.Series(dtype=float)
            want = last.reindex(panel.tickers) / prior - 1
            np.testing.assert_allclose(panel.returns[d, t], want.to_numpy(float), atol=1e-6)
        want = today.ffill().iloc[-1].reindex(panel.tickers) / prior - 1
        np.testing.assert_allclose(panel.returns[d, -1], want.to_numpy(float), atol=1e-6)


@five
def test_what_is_known_explains_the_gaps(bars):
    factors = pd.DataFrame(dict(date=["2017-05-17", "2017-06-14"], ticker=["BLL", "XRX"], factor=[0.5, 4.0]))
    some = bars[bars["ticker"].isin(["BLL", "XRX", "AAPL"])]
    panel, report = from_bars(some, flat(some), adjustments=factors)
    assert not len(report.gaps) and report.rows("used", of="adjustments") == 2
    d, n = panel.dates.astype(str).tolist().index("2017-06-14"), panel.tickers.tolist().index("XRX")
    assert panel.weights[d, n] and abs(panel.returns[d, :, n]).max() < 0.1
    noted = report.to_frame().query("reason == 'explained overnight move'")
    assert noted["ticker"].tolist() == ["BLL", "XRX"] and noted["detail"].tolist() == ["x 0.496, factor 0.5",
                                                                                      "x 4, factor 4"]
    real = from_bars(some, flat(some), adjustments=factors.assign(factor=1.0))[0]       # if these moves were real
    assert (real.weights != 0).sum() == (panel.weights != 0).sum() and 2.9 < real.returns[d, :, n].min() < 3.1
    closes = daily_closes(some, factors)
    assert closes.pct_change(fill_method=None).abs().max().max() < 0.1
    assert closes.loc[MISSING].isna().all(axis=None)


@five
def test_the_future_changes_nothing(bars):
    some = bars[bars["ticker"].isin(bars["ticker"].unique()[::12])]
    signals, rng = flat(some), np.random.default_rng(0)
    panel = from_bars(some, signals, half_days="keep")[0]
    for d, t in ((3, 0), (20, 5), (40, 11)):
        day, at = str(panel.dates[d]), panel.times[t]
        later = (some["date"] > day) | ((some["date"] == day) & (some["time"] > at))
        noise = np.exp(rng.normal(0, 0.7, len(some)))
        changed = some.assign(close=some["close"] * np.where(later, noise, 1))[~later | (rng.random(len(some)) < 0.5)]
        other = from_bars(changed, signals, half_days="keep")[0]
        assert (other.dates[:d + 1] == panel.dates[:d + 1]).all() and (other.tickers == panel.tickers).all()
        for name in ("returns", "tradable"):
            a, b = getattr(panel, name), getattr(other, name)
            np.testing.assert_array_equal(a[:d], b[:d])
            np.testing.assert_array_equal(a[d, :t + 1], b[d, :t + 1])
        np.testing.assert_array_equal(panel.weights[:d + 1], other.weights[:d + 1])


@five
def test_a_folder_of_days_is_the_same(bars, loaded, tmp_path):
    for day, part in bars[bars["date"] < "2017-05-03"].groupby("date"): part.to_parquet(tmp_path / f"{day}.parquet")
    few = flat(bars).loc[:"2017-05-02"]
    a, b = (from_bars(x, few, half_days="keep")[0] for x in (tmp_path, bars[bars["date"] < "2017-05-03"]))
    for name in ("returns", "tradable", "weights", "dates", "tickers"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@five
def test_books_from_past_closes(bars):
    closes = daily_closes(bars)
    for signal in (reversal(closes), momentum(closes, 5)):
        panel, report = from_bars(bars, signal)
        reconciles(report, bars, signal)
        held = np.broadcast_to((panel.weights != 0)[:, None], panel.shape)[:, :-1]
        assert panel.D >= 20 and panel.tradable[:, :-1][held].mean() > 0.9


@hour
def test_hourly_over_its_whole_span():
    bars = pd.read_parquet(HOUR)
    times = [f"{h}:00" for h in range(10, 17)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "the book lacks a side")
        panel, report = from_bars(HOUR, flat(bars), snapshots=times, stamp="start")
    reconciles(report, bars, flat(bars))
    assert panel.times.tolist() == times and report.settings["stamp"] == "start, 60 min"
    gaps = report.gaps.assign(day=report.gaps["date"].astype(str)).set_index(["ticker", "day"])["ratio"]
    splits = {("AAPL", "2000-06-21"): 1 / 2, ("AAPL", "2005-02-28"): 1 / 2, ("AAPL", "2014-06-09"): 1 / 7,
              ("AAPL", "2020-08-31"): 1 / 4, ("AIG", "2009-07-01"): 20, ("IBM", "1999-05-27"): 1 / 2,
              ("BAC", "2004-08-30"): 1 / 2}
    for key, ratio in splits.items(): assert abs(gaps[key] / ratio - 1) < 0.1, key
    half = report.to_frame().query("reason == 'half day' and of == 'bars'")["date"].nunique()
    assert 45 <= half <= 55
    held = (panel.weights != 0)[:, None, :] & np.ones(panel.shape, bool)
    assert panel.tradable[held].mean() > 0.98
    # read as if stamped at their end, every price would be an hour early: the close at 16:00 is then missing
    early, _ = from_bars(HOUR, flat(bars), snapshots=times, stamp="end", max_gap=None)
    assert not early.tradable[:, -1].any()
