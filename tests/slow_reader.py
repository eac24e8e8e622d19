"""Bars to a panel by loops over rows, written from the documentation of `from_bars` alone; times are minutes.

It knows nothing of blocks, keys or searches, and is compared with the package entry by entry."""
from collections import defaultdict

import exchange_calendars
import numpy as np
import pandas as pd


def minutes(text):
    hours, rest = text.split(":")
    return 60 * int(hours) + int(rest)


def sessions_of(calendar, first, last):
    "date -> open, close, break, whether it closes early, the date of the session before."
    cal = exchange_calendars.get_calendar(calendar, start=pd.Timestamp(first) - pd.Timedelta("25D"),
                                          end=pd.Timestamp(last) + pd.Timedelta("25D"))
    out, before = {}, None
    for day, row in cal.schedule.iterrows():
        local = {k: None if pd.isna(row[k]) else row[k].tz_convert(cal.tz) for k in row.index}
        at = {k: None if x is None else 60 * x.hour + x.minute for k, x in local.items()}
        out[date := str(day.date())] = dict(open=at["open"], close=at["close"], rest=at["break_start"],
                                            again=at["break_end"], early=day in cal.early_closes, before=before)
        before = date
    return out


class SlowReader:
    def __init__(self, rows, signals, sessions, snapshots, stamp="end", bar=5, half_days="drop", cut_short="drop",
                 no_volume="drop", max_stale=15, max_gap=0.3, gaps="drop", jumps="drop", min_bars=0.5, min_quoted=0.0,
                 weights=None, prior_close=(), adjustments=(), dividends=(), close=()):
        vars(self).update({k: v for k, v in locals().items() if k not in ("self", "weights")})
        self.weights = signals if weights is None else weights
        self.prior_close, self.adjustments, self.dividends, self.close = map(dict, (
            prior_close, adjustments, dividends, close))
        self.file_days, self.file_tickers = {r[0] for r in rows}, {r[2] for r in rows}
        self.bars = self.collect()
        self.broken = self.find_broken()
        here = [s for d, s in sessions.items() if d in self.file_days and not s["early"]]
        self.grid = [t for t in snapshots if t < (end := max(s["close"] for s in here))] + [end]

    def collect(self):
        "(date, ticker) -> [(seen, price)] in order of time, each bar once."
        halts = self.no_volume == "drop" and any(volume > 0 for *_, volume in self.rows)
        out = defaultdict(set)
        for date, time, ticker, price, volume in self.rows:
            if date not in self.sessions or (halts and not volume > 0): continue
            s, seen = self.sessions[date], time
            if self.stamp == "start":
                seen = time + self.bar
                if time < s["close"]: seen = min(seen, s["close"])
                if seen <= s["open"]: continue
            if s["open"] <= seen <= s["close"]: out[date, ticker].add((time, seen, price))
        return {k: [x[1:] for x in sorted(v)] for k, v in out.items()}

    def find_broken(self):
        "Dates on which the last bar of any ticker is far from the close."
        broken, best = set(), 0
        for n, date in enumerate(sorted({d for d, _ in self.bars})):
            s = self.sessions[date]
            def trading(t):
                if s["rest"] is None or t <= s["rest"]: return t
                return s["rest"] + max(0, t - s["again"])
            times = sorted({trading(t) for (d, _), own in self.bars.items() if d == date for t, _ in own})
            late = trading(s["close"]) - times[-1]
            pause = max([b - a for a, b in zip(times, times[1:])], default=0)
            if late > pause and late - best >= 15: broken.add(date)
            best = late if n == 0 else min(best, late)
        return broken

    def believed(self, own):
        "Whether each bar of a stock-day is a price."
        out, last = [], own[0][1]
        for _, price in own:
            out.append(abs(price / last - 1) <= self.max_gap)
            if out[-1]: last = price
        return out

    def last_believed(self, own):
        return [price for (_, price), good in zip(own, self.believed(own)) if good][-1]

    def official(self, key):
        "The official close, where it is given and can be."
        close, own = self.close.get(key), self.bars.get(key)
        if close is None: return None
        if own and self.jumps == "drop" and abs(close / self.last_believed(own) - 1) > self.max_gap: return None
        return close

    def known_close(self, key):
        "What the next session starts from."
        if (close := self.official(key)) is not None: return close
        own = self.bars.get(key)
        if not own or (key[0] in self.broken and self.cut_short == "drop"): return None
        if self.jumps == "keep": return own[-1][1]
        good = self.believed(own)
        for i in range(len(own) - 1, 0, -1):
            if good[i] or abs(own[i][1] / own[i - 1][1] - 1) <= self.max_gap: return own[i][1]
        return own[0][1]

    def prior(self, date, ticker):
        if (date, ticker) in self.prior_close: return self.prior_close[date, ticker]
        close = self.known_close((self.sessions[date]["before"], ticker))
        return None if close is None else close * self.adjustments.get((date, ticker), 1)

    def gap(self, date, ticker):
        "(whether the first price is too far, when it is seen); never for what has no price."
        own, paid = self.bars.get((date, ticker)), self.dividends.get((date, ticker), 0)
        if own: seen, first = own[0]
        elif (date, ticker) in self.close: seen, first = self.sessions[date]["close"], self.close[date, ticker]
        else: return False, None
        far = abs((first + paid) / self.prior(date, ticker) - 1) > self.max_gap
        return far and self.gaps == "drop" and self.adjustments.get((date, ticker)) != 1, seen

    def book(self):
        "date -> tickers in the book."
        out = defaultdict(set)
        for date, ticker in self.signals:
            if date not in self.file_days or date not in self.sessions or ticker not in self.file_tickers: continue
            if self.sessions[date]["early"] and self.half_days == "drop": continue
            if (date, ticker) not in self.weights or self.prior(date, ticker) is None: continue
            far, seen = self.gap(date, ticker)
            if not (far and seen <= self.grid[0]): out[date].add(ticker)
        for date, names in list(out.items()):
            quoted = [self.gap(date, n)[1] for n in names]
            early = sum(x is not None and x <= self.grid[0] for x in quoted)
            if sum((date, n) in self.bars for n in names) / len(names) < self.min_bars: del out[date]
            elif early / len(names) < self.min_quoted: del out[date]
        return out

    def stock_day(self, date, ticker):
        "Returns and whether they can be traded at, at each snapshot."
        nothing = [np.nan] * len(self.grid), [False] * len(self.grid)
        if self.gap(date, ticker)[0]: return nothing
        s, own = self.sessions[date], self.bars.get((date, ticker), [])
        prior, paid = self.prior(date, ticker), self.dividends.get((date, ticker), 0)
        good = [True] * len(own) if self.jumps == "keep" else self.believed(own) if own else []
        returns, tradable = nothing
        for k, t in enumerate(self.grid):
            closing = k == len(self.grid) - 1
            if closing: t = s["close"]
            elif t > s["close"] or (s["rest"] is not None and s["rest"] < t < s["again"]): continue
            seen = [i for i, bar in enumerate(own) if bar[0] <= t]
            if not seen or not good[seen[-1]]: continue
            fresh = t - own[seen[-1]][0] <= self.max_stale
            if fresh or closing: returns[k] = (own[seen[-1]][1] + paid) / prior - 1
            tradable[k] = fresh
        if (close := self.official((date, ticker))) is not None:
            returns[-1], tradable[-1] = (close + paid) / prior - 1, True
        return returns, tradable
