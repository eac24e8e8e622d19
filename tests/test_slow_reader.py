"""Random files, in random layouts, over many exchanges' calendars: entry by entry what a loop over rows gives."""
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slow_reader import SlowReader, minutes, sessions_of

from eod_exit_ppo.market import from_bars

CALENDARS = ["XNYS", "XLON", "XTKS", "XHKG", "XSHG", "XBOM", "XFRA", "XPAR", "XASX", "XTSE", "XSTO", "XSWX", "BVMF",
             "XKRX", "XJSE", "XSGO"]
ZONES = {"XNYS": "America/New_York", "XLON": "Europe/London", "XTKS": "Asia/Tokyo", "XHKG": "Asia/Hong_Kong",
         "XSHG": "Asia/Shanghai", "XBOM": "Asia/Kolkata", "XFRA": "Europe/Berlin", "XPAR": "Europe/Paris",
         "XASX": "Australia/Sydney", "XTSE": "America/Toronto", "XSTO": "Europe/Stockholm", "XSWX": "Europe/Zurich",
         "BVMF": "America/Sao_Paulo", "XKRX": "Asia/Seoul", "XJSE": "Africa/Johannesburg", "XSGO": "America/Santiago"}
SEEN = Counter()


def many(n):
    return settings(max_examples=n, deadline=None, derandomize=True, database=None,
                    suppress_health_check=list(HealthCheck))


def label(minute): return f"{minute // 60:02d}:{minute % 60:02d}"


def some_rows(rng, sessions, days, names, step, starts):
    "Rows of date, minute, ticker, price, volume, with the dirt of a real file."
    out = []
    for name in names:
        price = rng.uniform(1, 200)
        for day in days:
            s, price = sessions[day], price * rng.choice([1, 1, 1, 0.5, 1.6, np.exp(rng.normal(0, 0.1))])
            times = np.arange(s["open"] + (0 if starts else step), s["close"] + (0 if starts else 1), step)
            times = [t for t in times if s["rest"] is None or not s["rest"] < t + step * starts <= s["again"]]
            thin = rng.choice([1, 1, 0.9, 0.3, 0])
            for t in times:
                price *= np.exp(rng.normal(0, 0.01)) * (1.5 if rng.random() < 0.004 else 1)
                wild = rng.choice([1, 50, 0.02], p=[0.98, 0.01, 0.01])
                volume = float(rng.choice([1, 0, np.nan], p=[0.9, 0.05, 0.05]))
                row = day, int(t), name, round(float(price * wild), 4), volume
                if rng.random() < thin: out.append(row)
            if rng.random() < 0.2: out.append((day, s["open"] - 60, name, 1.0, 1))        # before the open
            if rng.random() < 0.2: out.append((day, s["close"] + 30, name, 999.0, 1))     # after the close
    return out


def random_case(rng):
    "Rows, sessions, options in minutes."
    calendar = rng.choice(CALENDARS)
    near = rng.choice(["2019-12-20", "2020-12-22", "2023-07-01", "2024-03-06", "2024-06-20", "2024-10-31", "2024-12-20",
                       "2022-11-22", str(np.datetime64("2019-02-01") + int(rng.integers(2000)))])
    sessions = sessions_of(calendar, str(np.datetime64(near) - 200), str(np.datetime64(near) + 14))
    days = [d for d in sessions if d >= near][:rng.integers(3, 7)]
    if all(sessions[d]["early"] for d in days): days = [d for d in sessions if d >= near][:14]
    names = ["AAA", "NA", "007", "B B"][:rng.integers(2, 5)]
    step, stamp = int(rng.choice([5, 15, 30, 60])), rng.choice(["end", "start"])
    rows = some_rows(rng, sessions, days, names, step, stamp == "start")
    if rng.random() < 0.3: rows = [r for r in rows if r[0] != days[1]]                    # the file lacks a day
    if rng.random() < 0.4:                                                                # one breaks off
        cut, at = rng.choice(days), rng.integers(600, 900)
        rows = [r for r in rows if r[0] != cut or r[1] <= at]
    if rng.random() < 0.3: rows.append((str(np.datetime64(near) - 180), 600, "AAA", 7.0, 1))
    return calendar, sessions, days, names, step, stamp, rows


def some_table(rng, days, names, share, value):
    "(date, ticker) -> value for some of them."
    return {(d, n): float(value()) for d in days for n in names if rng.random() < share}


def random_options(rng, days, names, rows, step, stamp):
    "Options of the slow reader."
    def pick(*values): return values[rng.integers(len(values))]
    last = {(r[0], r[2]): r[3] for r in rows}
    tables = dict(
        prior_close=some_table(rng, days, names, pick(0, 0, 0.1), lambda: rng.uniform(1, 200)),
        adjustments=some_table(rng, days, names, pick(0, 0.2), lambda: pick(1, 0.5, 2)),
        dividends=some_table(rng, days, names, pick(0, 0.2), lambda: pick(0, 0.5, 3)),
        close={k: round(p * pick(1, 1.001, 0.99, 3), 4) for k, p in last.items() if rng.random() < pick(0, 0, 0.5)})
    return dict(stamp=stamp, bar=step, half_days=pick("drop", "keep"), cut_short=pick("drop", "keep"),
                no_volume=pick("drop", "keep"), max_stale=pick(15, 60, 0), max_gap=pick(0.3, 0.3, 0.05, np.inf),
                gaps=pick("drop", "keep"), jumps=pick("drop", "drop", "keep"), min_bars=pick(0.5, 0.5, 0, 1),
                min_quoted=pick(0.0, 0.0, 0.5), **tables)


def long_table(table, value):
    return pd.DataFrame([(d, n, v) for (d, n), v in table.items()], columns=["date", "ticker", value])


def laid_out(rng, rows, zone, folder):
    "The rows in one of many layouts: what `from_bars` takes, and its options."
    rows = [rows[i] for i in rng.permutation(len(rows))] + [rows[i] for i in rng.integers(0, len(rows), 3)]
    t = pd.DataFrame(rows, columns=["date", "time", "ticker", "close", "volume"])
    t["time"] = t.time.map(label)
    kind = rng.choice(["frame", "csv", "parquet", "stamps", "tickers", "days", "categories", "naive"])
    stamp = pd.to_datetime(t.date + " " + t.time)
    SEEN[kind] += 1
    if kind == "frame": return t, {}
    if kind == "categories": return t.astype({"date": "category", "ticker": "category"}), {}
    stamped = t.drop(columns=["date", "time"])
    if kind == "naive": return stamped.assign(timestamp=stamp), dict(tz=zone)
    if kind == "stamps": return stamped.assign(timestamp=stamp.dt.tz_localize(zone).dt.tz_convert("UTC")), {}
    if kind in ("csv", "parquet"):
        path = Path(folder, f"bars.{kind}")
        (t.to_csv if kind == "csv" else t.to_parquet)(path, index=False)
        return path, {}
    for k, own in t.groupby("ticker" if kind == "tickers" else "date"):
        own.to_csv(Path(folder, f"{k}.csv"), index=False)
    return folder, {}


def compare(seed):
    "One random file: the two agree, or the package refuses it and the loop has nothing either."
    rng = np.random.default_rng(seed)
    calendar, sessions, days, names, step, stamp, rows = random_case(rng)
    if not rows: return
    options = random_options(rng, days, names, rows, step, stamp)
    signals = some_table(rng, days, names, 0.9, lambda: rng.normal())
    weights = some_table(rng, days, names, 0.9, lambda: rng.normal()) if rng.random() < 0.3 else None
    opens, closes = max(sessions[d]["open"] for d in days), min(sessions[d]["close"] for d in days)
    grid = sorted(set(rng.integers(opens + 5, max(closes, opens + 60), 4).tolist()) | {minutes("12:00")})
    grid = [t for t in grid if opens < t]
    slow = SlowReader(rows, signals, sessions, grid, weights=weights, **options)
    book, tables = slow.book(), {"weights": "weight", "prior_close": "prior_close", "adjustments": "factor",
                                 "dividends": "dividend", "close": "close"}
    given_ = {k: v for k, v in options.items() if k not in tables} | {
        k: long_table(v, tables[k]) for k, v in {**options, "weights": weights}.items() if k in tables and v}
    given_ |= dict(bar=f"{step}min" if stamp == "start" else None, max_stale=f"{options['max_stale']}min")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        bars, layout = laid_out(rng, rows, ZONES[calendar], folder)
        try: panel, report = from_bars(bars, long_table(signals, "signal"), snapshots=[label(t) for t in slow.grid],
                                       calendar=calendar, **given_, **layout)
        except ValueError as e:
            assert not book and any(x in str(e) for x in ("no stock-day is left", "is a session")), e
            SEEN["refused"] += 1
            return
    assert len(said) <= 2 and all(w.category is UserWarning for w in said), [str(w.message) for w in said]
    held = {(str(d), str(n)) for d, n in zip(*(x[i] for x, i in zip((panel.dates, panel.tickers), np.nonzero(
        panel.weights))))}
    assert held == {(d, n) for d, own in book.items() for n in own}
    for date, ticker in held:
        d, n = panel.dates.astype(str).tolist().index(date), panel.tickers.tolist().index(ticker)
        returns, tradable = slow.stock_day(date, ticker)
        np.testing.assert_allclose(panel.returns[d, :, n], returns, rtol=1e-5, atol=1e-6, err_msg=f"{date} {ticker}")
        assert panel.tradable[d, :, n].tolist() == tradable, (date, ticker)
        assert np.isclose(panel.signals[d, n], signals[date, ticker])
        assert np.isclose(panel.weights[d, n], (weights or signals)[date, ticker])
        SEEN["entries"] += len(returns)
    assert report.rows() == len(rows) + 3
    SEEN[str(calendar)] += 1


def apart(seed):
    """Compared in a thread of its own, whose stack is short.

    At the depth of a test, a loop's calls can cross the end of a piece of Python 3.11's stack, and then each takes a
    piece from the system and gives it back: ten times the time."""
    with ThreadPoolExecutor(1) as thread: thread.submit(compare, seed).result()


@many(8)
@given(st.integers(0, 2**32))
def test_a_few_files(seed): apart(seed)


@pytest.mark.slow
@many(500)
@given(st.integers(0, 2**32))
def test_many_files(seed): apart(seed)


@pytest.mark.slow
def test_all_calendars_were_met():
    for seed in range(120): apart(seed)
    assert sum(SEEN[c] > 0 for c in CALENDARS) >= 12 and SEEN["entries"] > 1000
