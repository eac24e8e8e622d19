"""From files of bars to a panel: seconds, and the most memory that the process ever held.

Two vendors are made up, one Parquet file per day: five-minute bars of 500 names over 58 days, 2.3 million rows; and a
year of minute bars of 500 names, 49 million rows. Each is read in a process of its own, with a signal that is made from
the same bars before (`daily_closes`, timed apart). Memory counts everything, imports included.

    python benchmarks/bars.py            both; recorded in RESULTS.md (needs 1 GB of disk; some minutes)
    python benchmarks/bars.py --quick    small files, printed and not recorded
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from results import peak_memory, table, write_section

FULL = {"58 days of 5-minute bars": (58, 500, 5), "a year of minute bars": (252, 500, 1)}
QUICK = {"6 days of 30-minute bars": (6, 20, 30)}


def write_bars(folder: Path, days: int, tickers: int, minutes: int) -> int:
    "A file per session, rows by time and ticker, stamped at the bar's end in UTC; the number of rows."
    from eod_exit_ppo.sessions import exchange_sessions
    from eod_exit_ppo.times import day_numbers
    rng, first = np.random.default_rng(0), int(day_numbers(["2023-01-03"])[0])
    s = exchange_sessions("XNYS", [first, first + 2 * days + 10])
    names, price, rows = [f"T{k:03d}" for k in range(tickers)], 100 * np.exp(rng.normal(0, 0.5, tickers)), 0
    for day, open_, close in s[s.index >= first][["open", "close"]].head(days).itertuples():
        ms = np.arange(open_ + 60_000 * minutes, close + 1, 60_000 * minutes)
        path = price * np.exp(rng.normal(0, 0.02 / len(ms) ** 0.5, (len(ms), tickers)).cumsum(0))
        stamps = pd.Timestamp(np.datetime64(int(day), "D")).tz_localize("America/New_York") + pd.to_timedelta(ms, "ms")
        pd.DataFrame(dict(timestamp=stamps.tz_convert("UTC").repeat(tickers), ticker=names * len(ms),
                          close=path.ravel().round(4), volume=100)).to_parquet(folder / f"{day}.parquet")
        price, rows = path[-1], rows + path.size
    return rows


def read(folder: Path) -> dict:
    "Closes, a signal, a panel: how long each took, and the most memory."
    from eod_exit_ppo.market import daily_closes, from_bars, reversal
    imported, start = peak_memory(), time.perf_counter()
    signal = reversal(daily_closes(folder))
    closes = time.perf_counter()
    panel, report = from_bars(folder, signal)
    done = time.perf_counter()
    return dict(closes=closes - start, panel=done - closes, memory=peak_memory(), imported=imported,
                shape=" x ".join(map(str, panel.shape)), rows=report.rows(of="bars"))


def measured(size: tuple[int, int, int]) -> dict:
    "What a process of its own found on files of this size."
    with tempfile.TemporaryDirectory() as folder:
        rows = write_bars(Path(folder), *size)
        done = subprocess.run([sys.executable, __file__, "--read", folder], capture_output=True, text=True)
        if done.returncode: raise RuntimeError(done.stderr)
        found = json.loads(done.stdout)
        assert found["rows"] == rows
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small files, nothing recorded")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read: return print(json.dumps(read(Path(args.read))))
    rows = []
    for name, size in (QUICK if args.quick else FULL).items():
        found = measured(size)
        rows.append({"bars": name, "rows": f"{found['rows']:,}", "panel": found["shape"],
                     "closes (s)": f"{found['closes']:.1f}", "bars to panel (s)": f"{found['panel']:.1f}",
                     "peak memory (MB)": f"{found['memory'] / 1e6:.0f}",
                     "of it imports (MB)": f"{found['imported'] / 1e6:.0f}"})
    text = table(rows)
    if args.quick: print(text)
    else: print(write_section("Bars to a panel", "python benchmarks/bars.py", text, 1, ("pandas", "pyarrow", "numpy")))


if __name__ == "__main__": main()
