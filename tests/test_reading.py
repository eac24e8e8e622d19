"""Bars and signals in the layouts of vendors and desks: the same panel from each, worked out bar by bar."""
import gzip
import zipfile


import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from eod_exit_ppo import IntradayPanel, daily_closes, from_bars
from eod_exit_ppo.cli import app

DAYS, NAMES, AT = ["2024-03-07", "2024-03-08", "2024-03-11"], ["AAA", "BRK/B", "NA"], ["10:00", "14:00"]
NY = "America/New_York"                                                  # the clocks go forward on the 10th
ENDS = pd.DatetimeIndex([t for d in DAYS for t in pd.date_range(f"{d} 09:35", f"{d} 16:00", freq="5min")])
WIDE = pd.DataFrame(np.round(100 * np.exp(np.random.default_rng(0).normal(0, 0.002, (len(ENDS), 3)).cumsum(0)), 2),
                    ENDS.tz_localize(NY), NAMES)
BARS = WIDE.rename_axis("timestamp").reset_index().melt("timestamp", var_name="ticker", value_name="close")
BOOK = pd.DataFrame([[1.0, -2, 3], [-1, 2, -3], [2, -1, 1]], pd.Index(DAYS, name="date"), NAMES)
START = dict(stamp="start", bar="5min")


def truth():
    "(two days, two snapshots and the close, tickers): the last bar that had ended, over the prior day's last."
    out = np.empty((2, 3, 3))
    for d, t, n in np.ndindex(out.shape):
        own, day = WIDE[NAMES[n]], DAYS[d + 1]
        seen = own[own.index <= pd.Timestamp(f"{day} {[*AT, '16:00'][t]}", tz=NY)]
        out[d, t, n] = seen.iloc[-1] / own[own.index <= pd.Timestamp(f"{DAYS[d]} 16:00", tz=NY)].iloc[-1] - 1
    return out


def right(bars, signals=BOOK, **options):
    "The panel, after its values have been compared with the truth."
    panel, report = from_bars(bars, signals, snapshots=AT, **options)
    assert panel.tickers.tolist() == NAMES and panel.dates.astype(str).tolist() == DAYS[1:]
    np.testing.assert_allclose(panel.returns, truth(), atol=1e-6)
    np.testing.assert_allclose(panel.signals, BOOK[1:])
    return panel, report


def stamped(table=BARS, by="5min"): return table.assign(timestamp=table.timestamp - pd.Timedelta(by))


def ints(table, unit): return table.timestamp.astype(f"datetime64[{unit}, UTC]").astype("int64")


def in_files(folder, table, end, write, **how):
    "A file for each ticker."
    for ticker, own in table.groupby("ticker"):
        write(own.drop(columns="ticker"), folder / f"{ticker.replace('/', '%2F')}{end}", **how)
    return folder


def csv(table, path, **how): table.to_csv(path, index=False, **how)


# ---- vendors: a made-up file in exactly the layout of each, and the one call that reads it ----
def polygon(folder):
    t = stamped().assign(volume=10, open=1.0, high=1.0, low=1.0, transactions=3)
    t["window_start"] = ints(t, "ns")
    for day, own in t.groupby(t.timestamp.dt.strftime("%Y-%m-%d")):
        (folder / day[:4] / day[5:7]).mkdir(parents=True, exist_ok=True)
        csv(own[["ticker", "volume", "open", "close", "high", "low", "window_start", "transactions"]],
            folder / day[:4] / day[5:7] / f"{day}.csv.gz")
    return folder, START | dict(unit="ns")


def databento(folder, pretty=False):
    t = stamped().assign(rtype=33, publisher_id=40, instrument_id=7, open=1.0, high=1.0, low=1.0, volume=5)
    t = t.rename(columns={"ticker": "symbol"}).assign(ts_event=ints(t, "ns"))
    if pretty: t["ts_event"] = t.timestamp.dt.tz_convert("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
    csv(t[["ts_event", "rtype", "publisher_id", "instrument_id", "open", "high", "low", "close", "volume", "symbol"]],
        folder / "ohlcv.csv")
    return folder / "ohlcv.csv", START | ({} if pretty else dict(unit="ns"))


def databento_frame(folder):
    t = stamped().assign(rtype=33, publisher_id=40, instrument_id=7, open=1.0, high=1.0, low=1.0, volume=5)
    t["ts_event"] = t.timestamp.dt.tz_convert("UTC")
    return t.rename(columns={"ticker": "symbol"}).drop(columns="timestamp").set_index("ts_event"), START


def alpaca(folder):
    t = stamped().assign(open=1.0, high=1.0, low=1.0, volume=5.0, trade_count=2.0, vwap=1.0)
    t["timestamp"] = t.timestamp.dt.tz_convert("UTC")
    return t.rename(columns={"ticker": "symbol"}).set_index(["symbol", "timestamp"]), START


def yfinance(folder, by_ticker=False):
    index = (WIDE.index - pd.Timedelta("5min")).tz_convert("UTC").rename("Datetime")
    fields = {k: WIDE.set_axis(index) * (1 if k == "Close" else 2) for k in ("Close", "High", "Low", "Open", "Volume")}
    t = pd.concat(fields, axis=1, names=["Price", "Ticker"])
    return (t.swaplevel(axis=1) if by_ticker else t), START


def ibkr(folder):
    t = stamped().assign(open=1.0, high=1.0, low=1.0, volume=5.0, average=1.0, barCount=2)
    t.insert(0, "date", t.timestamp.dt.strftime("%Y%m%d %H:%M:%S US/Eastern"))
    return in_files(folder, t.drop(columns="timestamp"), ".csv", csv), START | dict(ticker="file")


def kibot(folder):
    t = stamped()
    text = pd.DataFrame(dict(date=t.timestamp.dt.strftime("%m/%d/%Y"), time=t.timestamp.dt.strftime("%H:%M"),
                             ticker=t.ticker,
                             open=1.0, high=1.0, low=1.0, close=t.close, volume=5))
    names = ["date", "time", "open", "high", "low", "close", "volume"]
    return in_files(folder, text, ".txt", csv, header=False), START | dict(
        ticker="file", names=names, format="%m/%d/%Y %H:%M")


def stooq(folder):
    t = pd.DataFrame({"<TICKER>": BARS.ticker, "<PER>": 5, "<DATE>": BARS.timestamp.dt.strftime("%Y%m%d"),
                      "<TIME>": BARS.timestamp.dt.strftime("%H%M%S"), "<OPEN>": 1.0, "<CLOSE>": BARS.close, "<VOL>": 5})
    csv(t, folder / "data.txt")
    return folder / "data.txt", dict(format="%Y%m%d %H%M%S")


# ---- and other layouts ----
def hive(folder):
    BARS.assign(timestamp=BARS.timestamp.dt.tz_convert("UTC")).to_parquet(folder, partition_cols=["ticker"])
    return folder, {}


def european(folder):
    t = BARS.assign(timestamp=BARS.timestamp.dt.strftime("%d.%m.%Y %H:%M"))
    csv(t, folder / "B.TXT", sep=";", decimal=",", header=False)
    return folder, dict(sep=";", decimal=",", names=list(t), format="%d.%m.%Y %H:%M", tz=NY)


def packed(folder):
    with zipfile.ZipFile(folder / "a.ZIP", "w") as z: z.writestr("a.csv", BARS[BARS.ticker == "NA"].to_csv(index=False))
    with gzip.open(folder / "b.GZ", "wt") as f: f.write(BARS[BARS.ticker == "AAA"].to_csv(index=False))
    BARS[BARS.ticker == "BRK/B"].to_parquet(folder / "c.PQ")
    return [folder / "a.ZIP", f"{folder}/[b-c]*"], {}


def number(unit, kind):
    def make(folder):
        t = BARS.assign(timestamp=ints(BARS, unit))
        if kind == "float": t["timestamp"] = t.timestamp.astype(float)
        if kind == "frame": return t, dict(unit=unit)
        path = folder / f"bars.{kind}"
        t.to_parquet(path) if kind == "parquet" else csv(t, path) if kind == "csv" else None
        return (t if kind == "float" else path), dict(unit=unit)
    return make


def arrow(zone):
    table = pa.Table.from_pandas(BARS.assign(timestamp=BARS.timestamp.dt.tz_convert(zone)), preserve_index=False)
    return {f"arrow {zone}": lambda f: (table, {}),
            f"arrow in pandas {zone}": lambda f: (table.to_pandas(types_mapper=pd.ArrowDtype), {})}


def polars(folder):
    return pytest.importorskip("polars").from_arrow(arrow_table()), {}


def arrow_table(): return pa.Table.from_pandas(BARS.assign(timestamp=BARS.timestamp.dt.tz_convert("UTC")),
                                               preserve_index=False)


def text(how): return lambda folder: (BARS.assign(timestamp=BARS.timestamp.map(how)), {})


LAYOUTS = {
    "databento, frame": databento_frame, "polygon": polygon, "databento": databento,
    "databento, pretty": lambda f: databento(f, True), "alpaca": alpaca,
    "yfinance": yfinance, "yfinance, by ticker": lambda f: yfinance(f, True), "ibkr": ibkr, "kibot": kibot,
    "stooq": stooq,
    "hive": hive, "european": european, "packed": packed, "polars": polars, **arrow("UTC"), **arrow(NY),
    **{f"{unit} {kind}": number(unit, kind) for unit in ("s", "ms", "us", "ns") for kind in ("frame", "float", "csv",
                                                                                             "parquet")},
    "wide": lambda f: (WIDE, {}), "bytes": lambda f: (BARS.assign(ticker=BARS.ticker.str.encode("ascii")), {}),
    "naive arrow": lambda f: (BARS.assign(timestamp=BARS.timestamp.dt.tz_localize(None)).convert_dtypes(
        dtype_backend="pyarrow"), dict(tz=NY)),
    "short offsets": text(lambda t: t.isoformat(sep=" ").removesuffix(":00")),
    "long offsets": text(lambda t: t.isoformat()),
    "offsets without a colon": text(lambda t: t.strftime("%Y%m%dT%H:%M:%S%z")),
    "a zone's name": text(lambda t: t.strftime("%Y%m%d  %H:%M:%S US/Eastern")),
    "two zones": text(lambda t: t.strftime("%Y-%m-%d %H:%M:%S America/New_York") if t.minute else
                      t.tz_convert("UTC").strftime("%Y-%m-%d %H:%M Z")),
    "file": lambda f: (in_files(f, BARS, ".parquet", pd.DataFrame.to_parquet), dict(ticker="file")),
    **{f"{c} {s} {p}": lambda f, n=(c, s, p): (BARS.set_axis(list(n), axis=1), {}) for c, s, p in (
        ("Datetime", "Symbol", "Close"), ("DATETIME", "SYMBOL", "CLOSE"), ("t", "sym", "c"), ("T", "S Y M", "C"),
        ("ts_event", "Instrument", "Last"), ("window_start", "TICKER", "price"), ("Date", "Ric", "Close"))},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_same_panel_from_every_layout(tmp_path, name):
    bars, options = LAYOUTS[name](tmp_path)
    right(bars, **options)


def test_closes_and_command_from_the_same_files(tmp_path):
    (tmp_path / "bars").mkdir()
    bars, options = ibkr(tmp_path / "bars")
    BOOK.to_csv(tmp_path / "book.csv")
    last = WIDE.groupby(WIDE.index.strftime("%Y-%m-%d")).last()
    closes = daily_closes(bars, **options)
    np.testing.assert_allclose(closes.iloc[:3], last)
    words = f"panel {bars} --out {tmp_path}/panel --signals {tmp_path}/book.csv --stamp start --bar 5min --ticker file"
    done = CliRunner().invoke(app, [*words.split(), "--snapshots", ",".join(AT)])
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(IntradayPanel.load(tmp_path / "panel").returns, truth(), atol=1e-6)
    for name in ("reversal", "momentum"):
        done = CliRunner().invoke(app, [*words.replace(f"{tmp_path}/book.csv", name).split(), "--overwrite"])
        assert (done.exit_code == 0) == (name == "reversal"), done.output               # three days are no 20


# ---- signals ----
LONG = BOOK.stack().rename_axis(["date", "ticker"])
DATED = BOOK.set_axis(pd.DatetimeIndex(BOOK.index), axis=0)
SIGNALS = {
    "series": LONG, "named": LONG.rename("alpha"), "levels": LONG.rename("signal").to_frame(),
    "swapped": LONG.swaplevel(),
    "qlib": LONG.rename("score").rename_axis(["datetime", "instrument"]).to_frame(),
    "unnamed": LONG.rename_axis([None, None]),
    "columns": LONG.rename("signal").reset_index(),
    "other names": LONG.rename("x").reset_index().set_axis(["Date", "Symbol", "x"], axis=1),
    "shuffled": LONG.rename("signal").reset_index().sample(frac=1, random_state=0),
    **{f"wide, {name}": DATED.rename_axis(name) for name in ("date", "Date", None, "datetime")},
    "in a zone": DATED.tz_localize(NY), "numbers": BOOK.set_axis([int(d.replace("-", "")) for d in DAYS], axis=0),
}


@pytest.mark.parametrize("form", ["memory", "csv", "parquet", "arrow"])
@pytest.mark.parametrize("name", SIGNALS)
def test_signals_in_every_form(tmp_path, name, form):
    s = SIGNALS[name]
    if form == "csv": s.to_csv(path := tmp_path / "s.csv")
    frame = s.to_frame("signal") if isinstance(s, pd.Series) else s
    if form == "parquet": frame.to_parquet(path := tmp_path / "s.pq")
    right(BARS, {"memory": s, "arrow": pa.Table.from_pandas(frame)}[form] if form in ("memory", "arrow") else path)


# ---- rows without a trade are counted, or refused ----
def test_rows_without_a_trade(tmp_path):
    t = BARS.astype({"close": object})
    extra = t.iloc[[100, 300]].assign(timestamp=t.timestamp.iloc[[100, 300]] + pd.Timedelta("1min"))
    t = pd.concat([t, extra.assign(close=[0, ""])], ignore_index=True)
    in_files(tmp_path, t.assign(name=t.ticker), ".csv", csv)
    (tmp_path / "ZZZ.csv").write_text("timestamp,close\n")
    (tmp_path / "YYY.csv").touch()
    panel, report = right(tmp_path, ticker="file", on_blank="skip")
    lines = report.to_frame().query("reason == 'no price'")
    assert lines["rows"].tolist() == [1, 1] and report.rows() == len(t) and "YYY.csv, ZZZ.csv" in repr(report)
    with pytest.raises(ValueError, match=r"^AAA.csv, row 234, timestamp .*: close is 0.* on_blank='skip'"):
        from_bars(tmp_path, BOOK, ticker="file")
    for p in ("AAA.csv", "BRK%2FB.csv"): (tmp_path / p).unlink()
    with pytest.raises(ValueError, match=r"^YYY.csv is empty.*on_blank='skip'"): from_bars(tmp_path, BOOK,
                                                                                           ticker="file")


# ---- what has no meaning, or two, is refused in one line that names it, also by the command ----
def twice(folder):
    path = folder / "bars.csv"
    BARS.assign(other=1.0).to_csv(path, index=False, header=["timestamp", "ticker", "close", "close"])
    return path


def broken(name, content):
    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name
    return make


def written(table):
    def make(folder):
        table.to_parquet(folder / "a.pq")
        return folder / "a.pq"
    return make


def spoilt(column, value, row=7):
    def make(folder):
        t = BARS.assign(timestamp=BARS.timestamp.astype(str)).astype({column: object})
        t.loc[row, column] = value
        csv(t, folder / "bars.csv")
        return folder / "bars.csv"
    return make


def null_folder(folder):
    t = BARS.assign(timestamp=BARS.timestamp.dt.tz_convert("UTC")).astype({"ticker": object})
    t.loc[t.ticker == "NA", "ticker"] = None
    t.to_parquet(folder / "b", partition_cols=["ticker"])
    return folder / "b"


def good(folder): return spoilt("close", 1.0)(folder)


REFUSED = [
    (twice, {}, "bars.csv: a column must be unique, close is duplicated"), (null_folder, {},
                                                                            "ticker=__HIVE.*row 0.*ticker is None"),
    (spoilt("timestamp", "9999-12-31"), {}, "bars.csv, row 7, ticker AAA: timestamp is '9999-12-31'"),
    (spoilt("timestamp", "0001-01-01 00:00-05:00"), {}, "row 7.*between 1900 and 2200"),
    (spoilt("timestamp", "2300-01-01T10:00Z"), {}, "bars.csv, row 7"), (spoilt("close", ""), {},
                                                                        "bars.csv, row 7.*close is nan"),
    (spoilt("close", "1,5"), {}, "bars.csv, row 7.*close is '1,5'"), (spoilt("ticker", "b'AAA'"), {},
                                                                      "bars.csv, row 7.*b'AAA'"),
    (spoilt("close", -1), dict(on_blank="skip"), "bars.csv, row 7.*close is -1"), (good, dict(tz="America/NewYork"),
                                                                                   "tz is 'America/NewYork'"),
    (good, dict(unit="ms"), "bars.csv, row 0, ticker AAA: timestamp is .*unit='ms'"), (good, dict(unit="sec"),
                                                                                       "unit is 'sec'"),
    (good, dict(format="%d/%m/%Y"), "row 0.*format='%d/%m/%Y'"), (good, dict(format="%H"), "format is '%H'"),
    (broken("a.csv", b"date,time,symbol,c,v\n2024-03-07,9:35,A,1,\"1,000\"\n"), {},
     "row 0, date 2024-03-07, ticker A: volume is '1,000'.*no_volume='keep'"),
    (broken("a.csv", b"date,time,symbol,c\n2024-03-07,9:35,\"A\nB\",-1\n"), {}, "row 0.*ticker A B: close is -1"),
    (broken("a.csv", b"date,time,symbol,c\n2024-03-07,9:35,A," + 10**5 * b"x" + b"\n"), {},
     "close is 'x{79}: give"),
    (broken("a.csv", "date,time,symbol,c\n2024-03-07,9:35,A,1\n".encode("utf-16")), {},
     "^a.csv cannot be read .*utf-8"),
    (broken("a.csv.gz", gzip.compress(b"date,time,symbol,c\n" * 99)[:-6]), {},
     "^a.csv.gz cannot be read .*ended before"),
    (written(pd.DataFrame()), {}, "^a.pq is empty"), (written(BARS[:0]), {}, "^a.pq is empty"),
    (written(BARS.assign(ticker=[{"id": t} for t in BARS.ticker])), {}, "^a.pq: column ticker: give plain values"),
    (written(BARS.assign(ticker=BARS.ticker.str.replace("NA", r"\N"))), {}, "^a.pq, row 468.*ticker is"),
    (good, dict(ticker="file"), "ticker is 'file', but there is a column ticker"), (good, dict(ticker="name"),
                                                                                    "ticker is 'name'"),
    (good, dict(sep=";"), "bars.csv: no column ticker.*sep="), (good, dict(on_blank="drop"), "on_blank is 'drop'"),
    (good, dict(names=["a", "b"]), "names has 2 columns, the file has 3"), (good, dict(decimal=","), "sep and decimal"),
    (broken("a.zip", b"no zip"), {}, "^a.zip cannot be read"), (broken("a.gz", b"no gz"), {}, "^a.gz cannot be read"),
    (broken("a.parquet", b"PAR1"), {}, "^a.parquet cannot be read"), (broken("a.xlsx", b"x"), {},
                                                                      "^a.xlsx cannot be read"),
    (broken("a.csv", b"\xff\xfe\x00"), {}, "^a.csv cannot be read"), (broken("a.csv", b""), {}, "^a.csv is empty"),
    (broken("a.csv", b"t,symbol,c\n1709735700,A,1\n"), {}, "row 0.*timestamp is '?1709735700.*unit="),
    (broken("a.csv", b"date,symbol,c\n2024-03-07,A,1\n"), dict(tz=NY), "row 0.*no row has a time of day"),
    (broken("a.csv", b"t,datetime,symbol,c\n1,2,A,1\n"), {}, "t and datetime may both be the timestamp"),
]


@pytest.mark.parametrize("i", range(len(REFUSED)))
def test_refused_in_one_line(tmp_path, i):
    make, options, message = REFUSED[i]
    path = make(tmp_path)
    for call in (lambda: from_bars(path, BOOK, **options), lambda: daily_closes(path, **options)):
        with pytest.raises((ValueError, TypeError), match=message) as e: call()
        assert len(str(e.value).splitlines()) == 1
    BOOK.to_csv(tmp_path / "book.csv")
    words = [w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", ",".join(v) if k == "names" else v)]
    done = CliRunner().invoke(app, ["panel", str(path), "--signals", str(tmp_path / "book.csv"), "--out",
                                    str(tmp_path / "out"), *words])
    assert done.exit_code == 2 and len(done.output.strip().splitlines()) == 1, done.output


def test_what_is_no_table():
    for bars in (BARS.close, pa.chunked_array([[1.0]]), pa.array([1.0]), {"close": [1.0]}, None, []):
        with pytest.raises(TypeError, match="^bars is a .*: give a DataFrame, a file"): from_bars(bars, BOOK)


def test_empty_files_of_every_kind(tmp_path):
    for name, content in {"a.csv": b"", "b.csv.gz": gzip.compress(b""), "c.pq": b"", "d.txt": b"\n\n"}.items():
        (tmp_path / name).write_bytes(content)
    pd.DataFrame().to_parquet(tmp_path / "e.pq")
    csv(BARS, tmp_path / "f.csv")
    assert "a.csv, b.csv.gz, c.pq, d.txt, e.pq" in repr(right(tmp_path, on_blank="skip")[1])


def test_patterns_and_lost_files_in_the_shell(tmp_path):
    for day, own in BARS.groupby(BARS.timestamp.dt.strftime("%Y-%m-%d")): csv(own, tmp_path / f"{day}.csv")
    BOOK.to_csv(tmp_path / "book.txt")
    def panel(bars): return CliRunner().invoke(app, ["panel", str(tmp_path / bars), "--signals", str(
        tmp_path / "book.txt"), "--out", str(tmp_path / "out"), "--snapshots", ",".join(AT), "--overwrite"])
    assert (done := panel("2024-*.csv")).exit_code == 0, done.output
    np.testing.assert_allclose(IntradayPanel.load(tmp_path / "out").returns, truth(), atol=1e-6)
    for lost in ("2023-*.csv", "lost.csv"):
        done = panel(lost)
        assert done.exit_code == 2 and done.output.startswith("Error: bars: there is no file at "), done.output
        assert len(done.output.strip().splitlines()) == 1


def test_tickers_stay_text(tmp_path):
    "007 and NA are tickers, from text files too."
    t = BARS.assign(ticker=BARS.ticker.map({"AAA": "007", "BRK/B": "7", "NA": "NA"}))
    csv(t, tmp_path / "b.csv")
    assert daily_closes(tmp_path / "b.csv").columns.tolist() == daily_closes(t).columns.tolist() == ["007", "7", "NA"]


def test_a_wide_table_of_tickers_with_the_names_of_columns():
    "C, T, V and O are stocks; c, o, h and l are fields of a bar."
    wide = WIDE.set_axis(["C", "T", "SYM"], axis=1)
    assert daily_closes(wide).columns.tolist() == ["C", "SYM", "T"]
    with pytest.raises(ValueError, match="no column ticker"): daily_closes(wide.set_axis(["c", "o", "v"], axis=1))


def test_one_share_and_narrow_books():
    "The panel and its account speak of the same share; small books and large positions are noted."
    late = BARS[~((BARS.ticker == "NA") & (BARS.timestamp.dt.strftime("%d %H:%M").between("08 09:40", "08 12:00")))]
    panel, report = from_bars(late, BOOK, snapshots=AT)
    assert panel.tradable_share == 11 / 12 and "91.7%" in repr(panel) and report.settings["tradable"] == "91.7%"
    notes = report.to_frame().query("fate == 'noted'")
    assert notes[notes.reason == "small book"].detail.tolist() == ["3 names"] * 2
    half = notes[notes.reason == "half of a side"]
    assert list(zip(half.ticker, half.detail)) == [("BRK/B", "100% of the long side"), ("NA", "75% of the short side"),
                                                   ("AAA", "67% of the long side"), ("BRK/B", "100% of the short side")]


def test_help_names_the_options():
    import inspect
    for f in (from_bars, daily_closes):
        assert {"unit", "format", "ticker", "on_blank", "sep", "decimal", "names", "tz",
                "columns"} <= set(inspect.signature(f).parameters)
    assert {p.kind for p in inspect.signature(from_bars).parameters.values()} <= {1, 3}



def test_a_folder_that_contradicts_the_file_is_refused(tmp_path):
    folder = tmp_path / "ticker=AAA"
    folder.mkdir()
    for tickers, refusal in ((["AAA", "AAA"], None), (["AAA", "BBB"], "ticker=AAA/x.csv, row 1.*ticker is 'BBB'.*AAA")):
        table = pd.DataFrame(dict(date="2024-03-07", time=["10:00", "16:00"], ticker=tickers, close=[1.0, 2.0]))
        table.to_csv(folder / "x.csv", index=False)
        if refusal is None: assert list(daily_closes(tmp_path)) == ["AAA"]
        else:
            with pytest.raises(ValueError, match=refusal): daily_closes(tmp_path)
