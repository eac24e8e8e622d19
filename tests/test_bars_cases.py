"""What ordinary vendor files have: each trouble with what is right, as tables; and no option looks ahead."""
import warnings

import numpy as np
import pandas as pd
import pytest

from sizes import size

from eod_exit_ppo.market import daily_closes, from_bars

pytestmark = pytest.mark.filterwarnings("ignore:the book lacks a side", "ignore:only .* of the book has a price")
DAYS = ["2024-03-06", "2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12"]
NAMES, AT = ["AAA", "BBB", "CCC", "DDD"], ["10:00", "12:00", "14:00"]


def clean(days=DAYS, names=NAMES, opens="09:30", closes="16:00", rest=None, every="5min", seed=0):
    "Random walks stamped at their end."
    times = [t for d in days for t in pd.date_range(f"{d} {opens}", f"{d} {closes}", freq=every)[1:]
             if rest is None or not rest[0] < f"{t:%H:%M}" <= rest[1]]
    walk = 100 * np.exp(np.random.default_rng(seed).normal(0, 0.002, (len(times), len(names))).cumsum(0))
    return pd.DataFrame(dict(date=np.repeat([f"{t:%Y-%m-%d}" for t in times], len(names)),
                             time=np.repeat([f"{t:%H:%M}" for t in times], len(names)),
                             ticker=list(names) * len(times), close=walk.ravel().round(4), volume=100))


def earlier(t, by="5min"):
    return t.assign(time=(pd.to_datetime(t.time, format="%H:%M") - pd.Timedelta(by)).dt.strftime("%H:%M"))


def book(days=DAYS, names=NAMES):
    return pd.DataFrame(np.where(np.arange(len(names)) % 2, -1.0, 1.0) + np.zeros((len(days), 1)), days, names)


def at(t, day, time=None, ticker=None):
    return (t.date == day) & ((t.time == time) | (time is None)) & ((t.ticker == ticker) | (ticker is None))


def priced(t, where, factor): return t.assign(close=t.close.where(~where, t.close * factor))


# ---- refused by name, before anything is read ----
REFUSED = {
    "a length with end stamps": (dict(bar="5min"), "bar is '5min', but .* stamp='start'"),
    "the same, said": (dict(bar="5min", stamp="end"), "bar is '5min', but"),
    "no length": (dict(bar="five", stamp="start"), "bar is 'five'"), "no length, ignored": (dict(bar="five"), "bar is"),
    "no unit": (dict(bar=5, stamp="start"), "bar is 5: .*unit"), "text": (dict(bar="5", stamp="start"), "bar is '5'"),
    "no time": (dict(bar="0min", stamp="start"), "bar is '0min'"), "seconds": (dict(max_stale=900), "max_stale is 900"),
    "in text": (dict(max_stale="15"), "max_stale is '15'"), "a float": (dict(max_stale=15.0), "max_stale is 15.0"),
    "steps without a unit": (dict(snapshots="30"), "snapshots is '30'"),
    "hours and a calendar": (dict(session=("09:30", "16:00")), "session is .* calendar is 'XNYS'"),
    "gaps": (dict(gaps="yes"), "gaps is 'yes'"), "jumps": (dict(jumps=None), "jumps is None"),
    "cut": (dict(cut_short=0), "cut_short is 0"), "volume": (dict(no_volume="x"), "no_volume is 'x'"),
    "a mark below 0": (dict(list_gap=-1), "list_gap is -1"),
    "a dividend below 0": (dict(dividends=book() * -1), "dividends, row .*dividend is -1.0"),
    "a close of 0": (dict(close=book() * 0), "close, row 0.*close is 0.0"),
    **{name: (dict(calendar=name), f"calendar is '{name}'.*over midnight") for name in (
        "24/7", "24/5", "us_futures", "CMES", "IEPA")},
    "a calendar that is a number": (dict(calendar=5), "calendar is 5"),
    "a list of calendars": (dict(calendar=["XNYS"]), "calendar is .'XNYS'.*give a name"),
    "two answers": (dict(half_days=np.array(["drop", "keep"])), "half_days is array.*give 'drop' or 'keep'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    options, message = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=message): from_bars(clean(), book(), **options)


# ---- noticed: which line the account gets, on which day, for which ticker, and what the panel has ----
def no_volume(t): return t.assign(volume=t.volume.mask((t.time > "11:00") & at(t, DAYS[2], None, "AAA"), 0))
def filled(t): return no_volume(t).replace({"volume": {0: np.nan}})
def stops(day, time): return lambda t: t[~((t.date == day) & (t.time > time))]


NOTICED = {  # change of the bars, options, day, ticker, fate, reason, snapshots without a price for that ticker
    "a wild print at noon": (lambda t: priced(t, at(t, DAYS[2], "12:00", "AAA"), 100), {}, DAYS[2], "AAA", "left out",
                             "jump within the day", [1]),
    "a wild low": (lambda t: priced(t, at(t, DAYS[2], "12:00", "AAA"), 0.01), {}, DAYS[2], "AAA", "left out",
                   "jump within the day", [1]),
    "at the close": (lambda t: priced(t, at(t, DAYS[2], "16:00", "BBB"), 100), {}, DAYS[2], "BBB", "left out",
                     "jump within the day", [3]),
    "at the first close": (lambda t: priced(t, at(t, DAYS[0], "16:00", "BBB"), 100), {}, DAYS[0], "BBB", "noted",
                           "jump within the day", None),
    "a split at noon": (lambda t: priced(t, at(t, DAYS[2], None, "AAA") & (t.time >= "11:00") | (t.date > DAYS[2])
                                         & (t.ticker == "AAA"), 0.5), {}, DAYS[2], "AAA", "left out",
                        "jump within the day", [1, 2, 3]),
    "kept": (lambda t: priced(t, at(t, DAYS[2], "12:00", "AAA"), 100), dict(jumps="keep"), DAYS[2], "AAA", "noted",
             "jump within the day", []),
    "a halt": (no_volume, {}, DAYS[2], "AAA", "left out", "no volume", [1, 2]),
    "a gap that was filled": (filled, {}, DAYS[2], "AAA", "left out", "no volume", [1, 2]),
    "a file that ends at noon": (stops(DAYS[-1], "12:05"), {}, DAYS[-1], "", "noted", "cut short", None),
    "a market that stops": (stops(DAYS[2], "13:00"), {}, DAYS[2], "", "noted", "cut short", None),
    "and the day after": (stops(DAYS[2], "13:00"), {}, DAYS[3], "AAA", "left out", "previous session cut short", None),
    "a spin-off": (lambda t: priced(t, (t.date > DAYS[1]) & (t.ticker == "AAA"), 0.78), {}, DAYS[2], "AAA", "noted",
                   "large overnight move", []),
    "a fall that is kept": (lambda t: priced(t, (t.date > DAYS[1]) & (t.ticker == "AAA"), 0.5), dict(gaps="keep"),
                            DAYS[2], "AAA", "noted", "large overnight move", []),
    "a day that most lack": (lambda t: t[~((t.date == DAYS[2]) & (t.ticker > "AAA"))], {}, DAYS[2], "BBB", "left out",
                             "hole in the file", None),
}


@pytest.mark.parametrize("name", NOTICED)
def test_noticed(name):
    change, options, day, ticker, fate, reason, without = NOTICED[name]
    bars, plain = change(clean()), from_bars(clean(), book(), snapshots=AT)[0]
    panel, report = from_bars(bars, book(), snapshots=AT, **options)
    t = report.to_frame()
    line = t[(t.date.astype(str) == day) & (t.ticker == ticker) & (t.reason == reason)]
    assert fate in line.fate.tolist() and report.rows() == len(bars)
    if without is None: return
    d, n = panel.dates.astype(str).tolist().index(day), panel.tickers.tolist().index(ticker)
    assert np.flatnonzero(np.isnan(panel.returns[d, :, n])).tolist() == without
    assert not panel.tradable[d, without, n].any()
    others = np.arange(4) != n
    np.testing.assert_array_equal(panel.returns[:, :, others], plain.returns[:, :, others])
    if name.startswith("a split"):                        # the next day starts from the new level
        np.testing.assert_allclose(panel.returns[d + 1, :, n], plain.returns[d + 1, :, n], atol=2e-4)
    if name.startswith(("a wild", "a halt", "a gap", "kept")):  # otherwise nothing moves but what is without a price
        other = [k for k in range(3) if k not in without and name != "kept"]
        np.testing.assert_array_equal(panel.returns[d, other, n], plain.returns[d, other, n])


def test_start_stamps_that_are_not_said():
    with pytest.warns(UserWarning, match="stamp is not given.*Give stamp='start'"): from_bars(earlier(clean()), book())
    with pytest.warns(UserWarning, match="stamp is not given"): daily_closes(earlier(clean()))
    many = earlier(clean(names=[f"N{i:02d}" for i in range(40)]))
    stray = many.iloc[[-1]].assign(time="16:00")                       # one print at the close is no end stamp
    with pytest.warns(UserWarning, match="stamp is not given"): daily_closes(pd.concat([many, stray]))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "stamp is not given")
        from_bars(clean(), book())
        right = from_bars(earlier(clean()), book(), stamp="start")[0]
    np.testing.assert_array_equal(right.returns, from_bars(clean(), book())[0].returns)


def test_lengths_that_change_from_day_to_day(tmp_path):
    days = [str(d.date()) for d in pd.bdate_range("2024-03-04", periods=12)]
    one, five = clean(days[:3], every="1min"), clean(days[3:])
    for bars in (pd.concat([one, five]), pd.concat([five, one]), pd.concat([one, five[five.date < days[5]]])):
        for own in (bars, bars[bars.ticker == "AAA"]):
            with pytest.raises(ValueError, match="more than one length, . min in bars .*[15] min in bars"):
                from_bars(own, book(), stamp="start")
        for day, own in bars.groupby("date"): own.to_csv(tmp_path / f"{day}.csv", index=False)
        with pytest.raises(ValueError, match=r"more than one length, . min in 2024-03-\d\d.csv .*in 2024-03-\d\d.csv"):
            from_bars(tmp_path, book(), stamp="start")
    hours = pd.concat([clean(days[:4], every="30min"), clean(days[4:], closes="15:30", every="60min")])
    with pytest.raises(ValueError, match="more than one length, 30 min .* 60 min"):
        from_bars(hours, book(), stamp="start")


LUNCH = {"XTKS": ("09:00", "15:00", ("11:30", "12:30"), "11:45"),
         "XHKG": ("09:30", "16:00", ("12:00", "13:00"), "12:10"),
         "XSHG": ("09:30", "15:00", ("11:30", "13:00"), "12:59")}


@pytest.mark.parametrize("calendar", LUNCH)
def test_no_exit_at_lunch(calendar):
    opens, closes, rest, noon = LUNCH[calendar]
    days = ["2024-06-03", "2024-06-04", "2024-06-05"]
    panel, report = from_bars(clean(days, NAMES, opens, closes, rest), book(days), snapshots=["11:00", noon, "14:00"],
                              calendar=calendar, max_stale="3h")
    assert panel.tradable.all((0, 2)).tolist() == [True, False, True, True] and not panel.tradable[:, 1].any()
    assert report.to_frame()["reason"].eq("break at noon").sum() == 2


def test_a_close_that_moved_makes_no_half_days():
    days = ["2024-11-01", "2024-11-05", "2024-11-06"]                      # Tokyo: from 15:00 to 15:30 on the 5th
    parts = [clean([d], NAMES, "09:00", "15:00" if d < "2024-11-05" else "15:30", LUNCH["XTKS"][2]) for d in days]
    days = ["2024-10-31", *days]
    parts = [clean(days[:1], NAMES, "09:00", "15:00", LUNCH["XTKS"][2]), *parts]
    panel, _ = from_bars(pd.concat(parts), book(days), snapshots="1h", calendar="XTKS")
    last = np.stack([p.close.to_numpy()[-4:] for p in parts])
    assert panel.dates.astype(str).tolist() == days[1:] and str(panel.times[-1]) == "15:30"
    np.testing.assert_allclose(panel.returns[:, -1], last[1:] / last[:-1] - 1, atol=1e-6)


def test_days_beyond_the_calendar_are_counted():
    import exchange_calendars
    end = exchange_calendars.get_calendar("XSHG").schedule.index[-4:].strftime("%Y-%m-%d").tolist()
    beyond = str(np.datetime64(end[-1]) + 40)
    bars = clean([*end, beyond], NAMES, "09:30", "15:00", LUNCH["XSHG"][2])
    panel, report = from_bars(bars, book(end), calendar="XSHG", snapshots=["10:00"])
    assert panel.D == 3 and report.rows() == len(bars)
    t = report.to_frame()
    assert t[t.reason == "beyond the calendar"]["rows"].sum() == (bars.date == beyond).sum()


# ---- later bars, later volumes, later rows of tables change nothing earlier, whatever the options ----
OPTIONS = {
    "as it comes": {}, "moves kept": dict(gaps="keep", max_gap=0.02), "jumps kept": dict(jumps="keep", max_gap=0.01),
    "narrow": dict(max_gap=0.01), "cut days kept": dict(cut_short="keep"), "halts kept": dict(no_volume="keep"),
    "nothing listed": dict(list_gap=None), "Tokyo": dict(calendar="XTKS"), "start stamps": dict(stamp="start"),
    "dividends": dict(dividends=0.5), "official closes": dict(close=1.002), "both": dict(dividends=0.5, close=0.998),
}


def tables(options, bars):
    "The tables that some options stand for."
    last = bars.groupby(["date", "ticker"], as_index=False)["close"].last()
    made = {"close": lambda x: last.assign(close=last.close * x),
            "dividends": lambda x: last[["date", "ticker"]].assign(dividend=x).iloc[::3]}
    return {k: made[k](v) if k in made else v for k, v in options.items()}


def later_rows(table, day, today):
    "A table with other values after a day, or from that day on; anything else as it is."
    if not isinstance(table, pd.DataFrame): return table
    known = (table.date < day) | ((table.date == day) & today)
    return table.assign(**{table.columns[-1]: table.iloc[:, -1].where(known, 7.0)})


@pytest.mark.parametrize("name", OPTIONS)
def test_the_future_changes_nothing(name):
    rng, tokyo = np.random.default_rng(0), name == "Tokyo"
    hours = ("09:00", "15:00", ("11:30", "12:30")) if tokyo else ()
    bars = clean(DAYS, NAMES, *hours, every="15min", seed=3)
    bars = bars[rng.random(len(bars)) > 0.1]
    bars = bars.assign(volume=rng.integers(0, 4, len(bars)))
    if name == "start stamps": bars = earlier(bars, "15min")
    options = tables(OPTIONS[name], bars)
    def load(bars, options): return from_bars(bars, book(), snapshots=AT, max_stale="1h", min_bars=0, **options)[0]
    panel = load(bars, options)
    for day, time in ((DAYS[1], "10:00"), (DAYS[2], "12:00"), (DAYS[3], "14:00"), (DAYS[2], "16:00")):
        seen = earlier(bars.assign(time=bars.time), "-15min").time if name == "start stamps" else bars.time
        later = (bars.date > day) | ((bars.date == day) & (seen > time))
        for keep in size((0.5,), (1, 0.5, 0.1)):
            other = bars.assign(close=np.where(later, bars.close * np.exp(rng.normal(0, 0.4, len(bars))), bars.close),
                                volume=np.where(later, rng.integers(0, 3, len(bars)), bars.volume))
            other = other[~later | (rng.random(len(bars)) < keep)]
            new = {k: later_rows(v, day, k != "close" or time == "16:00") for k, v in options.items()}
            changed = load(other, new)
            for d, date in enumerate(panel.dates.astype(str)):
                last = 4 if date < day else 0 if date > day else 4 if time == "16:00" else AT.index(time) + 1
                if not last: continue
                e = changed.dates.astype(str).tolist().index(date)
                assert changed.tickers.tolist() == panel.tickers.tolist()
                for field in ("signals", "weights"):
                    np.testing.assert_array_equal(getattr(panel, field)[d], getattr(changed, field)[e])
                for field in ("returns", "tradable"):
                    np.testing.assert_array_equal(getattr(panel, field)[d, :last], getattr(changed, field)[e, :last])
