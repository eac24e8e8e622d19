"""No decision knows what comes after it: everything later is changed; what was seen and decided must stay as it was.

One helper, `unmoved`, examines feature sets, policies, loader options and walks, and the same helper catches a loader,
a feature and normalizations that leak."""
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lively import lively
from real_days import FILES, real_days
from sizes import ALL, size

from eod_exit_ppo.agent import FactorizedPPOEOD
from eod_exit_ppo.baselines import ExactOptimum, ExitAt, Hindsight, Hold, LeastSquaresMC, Threshold
from eod_exit_ppo.data import IntradayPanel
from eod_exit_ppo.direct import DirectGradient
from eod_exit_ppo.features import FeatureSet, base_features, check_causal, feature_set, path_features
from eod_exit_ppo.live import LiveDay, replay
from eod_exit_ppo.lookahead import check_no_lookahead, other_worlds, with_strangers
from eod_exit_ppo.market import daily_closes, from_bars, momentum, reversal, synthetic_bars
from eod_exit_ppo.exits import first_exit, may_act
from eod_exit_ppo.ppo import PPOConfig
from eod_exit_ppo.walk import WalkForward, walk_forward

pytestmark = pytest.mark.filterwarnings("ignore:the book lacks a side", "ignore:only .* of the book has a price")
LOOKED = {"worlds": 0, "numbers": 0}


@pytest.fixture(scope="module", autouse=True)
def count():
    yield
    print(f"\nno lookahead: {LOOKED['worlds']} changed futures, {LOOKED['numbers']:,} numbers compared")


# ---- the helper ----
def unmoved(see, world, change, moments):
    """Fail where something that `see` says was known by a moment is another thing in a world that differs later only.

    `see(world, moment)` gives a dict of what was known by then, `change(world, moment, rng)` the other world."""
    for k, moment in enumerate(moments):
        rng = np.random.default_rng(k)
        before, after = see(world, moment), see(change(world, moment, rng), moment)
        LOOKED["worlds"] += 1
        for name, x in before.items():
            y = after[name]
            assert x.shape == y.shape, f"{name} went from {x.shape} to {y.shape} when what follows {moment} changed"
            LOOKED["numbers"] += x.size
            bad = ~((x == y) | ((x != x) & (y != y)))
            if bad.any():
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                raise AssertionError(f"{name} looks ahead: at {at} it was {x[at]}, and is {y[at]} when what follows "
                                     f"{moment} changed")


# ---- panels: a moment is a day, a snapshot, and how to change what comes after ----
def later(shape, d, t):
    "(D, T, ...) bool: what comes after snapshot t of day d."
    out = np.zeros(shape, bool)
    out[d, t + 1:] = out[d + 1:] = True
    return out


def other_panel(panel, moment, rng):
    "Prices, halts and extras after a moment, and the books of later days, are others; or the rest is missing."
    d, t, how = moment
    after, new = later(panel.shape, d, t), {}
    noise = rng.normal(0, 3 * np.nanstd(panel.returns), panel.shape)
    new["returns"] = np.where(after, np.nan if how == "missing" else noise, panel.returns)
    new["tradable"] = np.where(after, ~np.isnan(new["returns"]) & (rng.random(panel.shape) < 0.6), panel.tradable)
    if panel.extra is not None:
        new["extra"] = np.where(after[..., None], rng.normal(0, 3, panel.extra.shape), panel.extra)
    days = np.arange(panel.D)[:, None] > d
    for k in ("signals", "weights"): new[k] = np.where(days, rng.normal(size=panel.weights.shape), getattr(panel, k))
    return replace(panel, **new)


def moments_of(panel):
    return [(d, t, how) for d in (0, panel.D - 1) for t in range(panel.T - 1) for how in ("other", "missing")]


@pytest.fixture(scope="module")
def panel():
    "Four days with gaps, halts, costs and something extra."
    rng, made = np.random.default_rng(3), IntradayPanel.synthetic(D=4, T=5, N=16, missing=0.1)
    tradable = ~np.isnan(made.returns) & (rng.random(made.shape) < 0.9)
    return replace(made, tradable=tradable, extra=rng.normal(size=(*made.shape, 2)).astype(np.float32)).with_costs(2, 1)


@pytest.fixture(scope="module")
def train():
    rng, made = np.random.default_rng(4), IntradayPanel.synthetic(D=24, T=5, N=16, missing=0.1, seed=5)
    return replace(made, extra=rng.normal(size=(*made.shape, 2)).astype(np.float32)).with_costs(2, 1)


def own(p):
    "A feature set of somebody's own: running extremes, the extras, and a context."
    marks = p.marks()
    stock = [np.maximum.accumulate(marks, 1), marks, *np.moveaxis(np.nan_to_num(p.extra), -1, 0)]
    return np.stack(stock, -1), np.stack([marks.max(2), marks.min(2)], -1)


SETS = {"base": base_features, "path": path_features, "own": FeatureSet("own", own)}


def seen_by(features):
    "What a feature set shows by a moment."
    def see(p, moment):
        d, t, _ = moment
        past = ~later(p.shape, d, t)
        stock, context = features(p)
        out = {"stock features": stock[past], "context": context[past[:, :, 0]]}
        at = features.at(p, t)
        return out | {"stock features at t": at[0][:d + 1], "context at t": at[1][:d + 1]}
    return see


@pytest.mark.parametrize("name", SETS)
def test_features(panel, name):
    unmoved(seen_by(SETS[name]), panel, other_panel, moments_of(panel))


def decided_by(exits):
    "Who has left by a moment, as far as it was decided by then."
    def see(p, moment):
        d, t, _ = moment
        steps = exits(p)
        gone = steps[:, None] <= np.arange(p.T)[:, None]
        return {"decisions": gone[~later(p.shape, d, t)]}
    return see


def learned(train, features, **config):
    "What an epoch has taught, and then so that about half of the decisions are exits."
    agent = FactorizedPPOEOD.from_panel(train, config=PPOConfig(epochs=1, hidden=16, rollouts_per_epoch=8, **config),
                                        features=features)
    agent.train(progress=False)
    return lively(agent.policy, train[:3], 0.5)


POLICIES = {
    "hold": lambda train: Hold(), "exit at": lambda train: ExitAt(2), "threshold": Threshold.fit,
    "one level": lambda train: Threshold.fit(train, per_snapshot=False), "least squares": LeastSquaresMC.fit,
    "own basis": lambda train: LeastSquaresMC.fit(train, lambda p: own(p)[0]),
    "exact optimum": lambda train: ExactOptimum(np.linspace(0.1, 1, train.T)),
    "direct gradient": lambda train: lively(DirectGradient.fit(train, hidden=8, steps=4), train[:3], 0.5),
    **{f"learned a stock, {k}": lambda train, x=x: learned(train, x) for k, x in SETS.items()},
    **{f"learned jointly, {k}": lambda train, x=x: learned(train, x, credit="book", adv_norm="standardize")
       for k, x in SETS.items()},
}


@pytest.fixture(scope="module")
def fitted(train):
    "The policy of a name, fitted once."
    return cache(lambda name: POLICIES[name](train))


@pytest.mark.parametrize("name", POLICIES)
def test_policies(panel, fitted, name):
    policy = fitted(name)
    steps = policy.exit_steps(panel)
    if name not in ("hold", "exit at"): assert len(np.unique(steps)) > 1  # it decides something
    unmoved(decided_by(policy.exit_steps), panel, other_panel, moments_of(panel))


@pytest.mark.parametrize("name", ["threshold", "least squares", "learned a stock, path", "learned jointly, base"])
def test_live_day(panel, fitted, name):
    policy = fitted(name)
    unmoved(decided_by(lambda p: replay(policy, p)), panel, other_panel, moments_of(panel)[::5])


def test_a_live_day_knows_nothing_else(panel, train):
    "What a policy is shown by a live day has nothing in it that has not come."
    shown = []

    class Spy:
        def exit_steps(self, p):
            shown.append(p)
            return Hold().exit_steps(p)
    day = LiveDay(Spy(), panel.tickers, panel.signals[0], panel.weights[0], times=panel.times, n_extra=2)
    for t, time in enumerate(panel.times):
        day.decide(time, returns=panel.returns[0, t], extra=panel.extra[0, t])
    for t, p in enumerate(shown):
        assert np.isnan(p.returns[0, t + 1:]).all() and np.isnan(p.extra[0, t + 1:]).all()
        assert not p.tradable[0, t + 1:].any()


# ---- columns: stocks outside the book, added, taken away, listed later, in another order ----
@pytest.fixture(scope="module", params=["the book", "wider"])
def books(panel, request):
    "The four days with a quarter of the stocks not held; features look at the book, or at half of the others too."
    rng = np.random.default_rng(8)
    held = rng.random(panel.weights.shape) > 0.25
    universe = held | (rng.random(held.shape) < 0.5) if request.param == "wider" else None
    return replace(panel, weights=np.where(held, panel.weights, 0), universe=universe)


@pytest.mark.parametrize("name", SETS)
def test_features_of_other_columns(books, name):
    check_causal(SETS[name], books)


@pytest.mark.parametrize("name", POLICIES)
def test_policies_of_other_columns(books, fitted, name):
    check_no_lookahead(fitted(name), books)


@pytest.mark.parametrize("name", POLICIES)
def test_live_days_of_other_columns(books, fitted, name):
    "Made from a day's positions alone, or with columns that are none of its own: the same exits as in the backtest."
    policy = fitted(name)
    steps = policy.exit_steps(books)
    for w in other_worlds(books):
        if w.until == books.T: np.testing.assert_array_equal(w.before(steps), w.after(replay(policy, w.panel)), w.why)


@st.composite
def other_columns(draw):
    "A panel; the same with other columns; for each of these its place in the first; the days that must be as before."
    D, N, rng = draw(st.integers(1, 4)), draw(st.integers(1, 12)), np.random.default_rng(draw(st.integers(0, 2**32)))
    made = IntradayPanel.synthetic(D=D, T=5, N=N, missing=0.2, seed=draw(st.integers(0, 99)))
    held = rng.random((D, N)) < draw(st.sampled_from([0.2, 0.6, 1.0]))
    universe = held | (rng.random((D, N)) < 0.5) if draw(st.booleans()) else None
    p = replace(made, weights=np.where(held, made.weights, 0), universe=universe,
                extra=rng.normal(size=(D, 5, N, 2))).with_costs(2, 1)
    listed = draw(st.integers(0, D))
    other, days = with_strangers(p, draw(st.integers(1, 6)), draw(st.booleans()), listed, rng), np.arange(D) < listed
    kept = rng.random(other.N) < draw(st.sampled_from([0, 0.5, 1]))
    kept[:N] |= p.members[days].any(0)
    order = rng.permutation(np.flatnonzero(kept) if kept.any() else [0])
    return p, other.stocks(order), order, days


@settings(max_examples=size(60, 2000), deadline=None, derandomize=True, database=None,
          suppress_health_check=list(HealthCheck))
@given(changed=other_columns(), name=st.sampled_from(list(POLICIES)))
def test_any_columns(fitted, changed, name):
    p, other, order, days = changed
    there = np.flatnonzero(order < p.N)
    a, b = fitted(name).exit_steps(p), fitted(name).exit_steps(other)
    np.testing.assert_array_equal(a[days][:, order[there]], b[days][:, there])
    for features in SETS.values():
        (stock, context), (other_stock, other_context) = features(p), features(other)
        np.testing.assert_array_equal(stock[days][:, :, order[there]], other_stock[days][:, :, there])
        np.testing.assert_array_equal(context[days], other_context[days])


@pytest.mark.parametrize("name", ["threshold", "one level", "least squares", "own basis"])
def test_strangers_teach_nothing(train, panel, fitted, name):
    policy = POLICIES[name](with_strangers(train, 5, quoted=True))
    np.testing.assert_array_equal(policy.exit_steps(panel), fitted(name).exit_steps(panel))


# ---- real days: as a desk has them, against the backtest on all columns ----
REAL = {k: fit for k, fit in POLICIES.items() if "own" not in k}


@pytest.mark.parametrize("universe", ["the book", "what is known"])
@pytest.mark.parametrize("file", FILES)
def test_real_days(file, universe):
    """Live days made from the day's members alone, every second one from all columns, end as the backtest of all does.

    All policies on all days in `make test-all`; on every 25th day, in turn, in `make test`."""
    prices, prior, panel = real_days(file)
    if universe != "the book": panel = replace(panel, universe=np.isfinite(prior))
    train = panel[:panel.D // 2][::max(1, panel.D // 200)]
    policies = {name: fit(train) for name, fit in REAL.items()}
    steps = {name: policy.exit_steps(panel) for name, policy in policies.items()}
    share = {name: np.mean((s < panel.T - 1)[panel.weights != 0]) for name, s in steps.items()}
    assert all(0.02 < x < 0.98 for name, x in share.items() if name not in ("hold", "exit at", "exact optimum")), share
    for k, d in enumerate(range(0, panel.D, size(25, 1))):
        at = np.flatnonzero(panel.members[d] | (k % 2 > 0))
        for name in REAL if ALL else [[*REAL][k // 2 % len(REAL)]]:
            if not len(at): continue  # nothing was held
            day = LiveDay(policies[name], panel.tickers[at], panel.signals[d, at], panel.weights[d, at],
                          times=panel.times, prior_close=prior[d, at], date=panel.dates[d],
                          universe=None if panel.universe is None else panel.universe[d, at],
                          min_quoted=0, max_move=None)  # the panel has every move that is in the file
            for t, time in enumerate(panel.times): day.decide(time, prices[d, t, at])
            np.testing.assert_array_equal(day.exit_steps, steps[name][d, at], f"{name} on {panel.dates[d]}")


# ---- training: the test set, and later folds ----
def weights_of(agent): return {k: v.numpy().copy() for k, v in agent.model.state_dict().items()}


@pytest.mark.parametrize("credit", ["stock", "book"])
def test_the_test_set_teaches_nothing(train, credit):
    fit, test = train.split(16)
    def see(world, moment):
        config = PPOConfig(epochs=2, hidden=8, rollouts_per_epoch=4, credit=credit, eval_every=1)
        agent = FactorizedPPOEOD.from_panel(fit, world, config)
        agent.train(progress=False)
        history = agent.history.drop(columns=["eval_payoff", "seconds"])
        return weights_of(agent) | {"history": history.to_numpy(), "decisions": agent.policy.exit_steps(fit)}
    def other(world, moment, rng): return other_panel(world[:moment], (-1, world.T, "other"), rng)
    unmoved(see, test, other, [8])


def test_the_first_days_alone(train):
    "An agent given arrays and n_train_days learns from these days only."
    def see(world, moment):
        agent = FactorizedPPOEOD(*world, n_train_days=moment,
                                 config=PPOConfig(epochs=2, hidden=8, rollouts_per_epoch=8))
        agent.train(progress=False)
        return weights_of(agent)
    def other(world, moment, rng):
        return [np.where(np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)) >= moment, rng.normal(size=x.shape), x)
                for x in world]
    unmoved(see, (train.signals, train.returns, train.weights), other, [16])


def test_walk_forward(train):
    "Days after a fold's test days change nothing in it: not its fits, not its decisions."
    config = PPOConfig(epochs=1, hidden=8, rollouts_per_epoch=4)
    def see(world, moment):
        result = walk_forward(world, config, WalkForward(train=8, test=4), seeds=1, jobs=1, progress=False,
                              policies={"threshold": Threshold.fit, "least squares": LeastSquaresMC.fit})
        return {k: s[:, result.panel.dates <= train.dates[moment[0]]] for k, s in result.exit_steps.items()}
    last = train.T - 1
    unmoved(see, train, other_panel, [(12, last, "other"), (16, last, "missing"), (20, last, "other")])


# ---- loader: a world is bars and tables; a moment is a date, a time and how long after its stamp a bar is known ----
def known(bars, lag):
    "When each bar is truly known."
    return pd.to_datetime(bars.date + " " + bars.time) + pd.Timedelta(lag)


def other_bars(world, moment, rng):
    "Every bar known later has another price, some are gone; the tables of later days are others."
    date, time, lag = moment
    bars, now = world["bars"], pd.Timestamp(f"{date} {time}")
    after = known(bars, lag) > now
    close = np.where(after, bars.close * np.exp(rng.normal(0, 0.05, len(bars))), bars.close)
    gone = after & (rng.random(len(bars)) < 0.2)
    new = {"bars": bars.assign(close=close)[~gone]}
    for k in world.keys() - new.keys():  # what is dated d is known before the open of d
        x = world[k]
        new[k] = x.assign(**{x.columns[-1]: np.where(x.date > date,
                                                     x.iloc[:, -1] * rng.normal(1, 0.2, len(x)).clip(0.1),
                                                     x.iloc[:, -1])})
    return new


def loaded_by(load):
    "The panel as far as it is known by a moment: days, books, prices, where an exit is possible."
    first = []
    def loaded(world):
        table = load(world).to_frame()
        return table[table.weight != 0].assign(time=table.time.astype(str), ticker=table.ticker.astype(str))
    def see(world, moment):
        if not first: first[:] = world, loaded(world)  # what all others are compared with is loaded once
        table = first[1] if world is first[0] else loaded(world)
        date, time, _ = moment
        day = table.date.astype("datetime64[s]")
        table = table[(day < pd.Timestamp(date)) | ((day == pd.Timestamp(date)) & (table.time <= time))]
        table = table.sort_values(["date", "time", "ticker"])
        out = {k: table[k].to_numpy() for k in ("return", "signal", "weight", "tradable")}
        return out | {"cells": (table.date.astype(str) + table.time + table.ticker).to_numpy(object)}
    return see


def made_bars(every="30min"):
    "Bars of a fortnight with a half day (29 November), a day missing for one ticker, and holes."
    bars, rng = synthetic_bars(days=8, tickers=6, start="2024-11-22", every=every, seed=1), np.random.default_rng(2)
    bars = bars[rng.random(len(bars)) > 0.05]
    return bars[~((bars.ticker == "T01") & (bars.date == "2024-11-26"))].reset_index(drop=True)


def made_tables(bars):
    rng, keys = np.random.default_rng(6), bars[["date", "ticker"]].drop_duplicates()
    return {"signals": keys.assign(signal=rng.normal(size=len(keys))),
            "weights": keys.assign(weight=rng.normal(size=len(keys)))}


MOMENTS = [("2024-11-26", "10:00"), ("2024-11-27", "12:30"), ("2024-11-29", "12:00"), ("2024-11-29", "16:00"),
           ("2024-12-03", "10:30"), ("2024-12-03", "15:30")]
OPTIONS = {
    "as it comes": {}, "start stamps": dict(stamp="start"), "start stamps, told": dict(stamp="start", bar="30min"),
    "half days": dict(half_days="keep"), "half days, start": dict(half_days="keep", stamp="start"),
    "fresh": dict(max_stale="0min"), "stale": dict(max_stale="3h"), "every hour": dict(snapshots="60min"),
    "two snapshots": dict(snapshots=["10:30", "15:30"]), "half of them quoted": dict(min_quoted=0.5),
    "all of them quoted": dict(min_quoted=1.0), "no calendar": dict(calendar=None, tz="America/New_York"),
    "no limit to gaps": dict(max_gap=None), "narrow gaps": dict(max_gap=0.02), "other calendar": dict(calendar="XNAS"),
    "other zone": dict(tz="America/New_York"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_loader(name):
    options, bars = {"max_stale": "40min", **OPTIONS[name]}, made_bars()
    lag = "30min" if options.get("stamp") == "start" else "0min"
    if lag != "0min": bars = bars[bars.time < "16:00"]
    def load(world):
        tables = {k: v for k, v in world.items() if k not in ("bars", "signals")}
        return from_bars(world["bars"], world["signals"], **tables, **options)[0]
    unmoved(loaded_by(load), {"bars": bars, **made_tables(bars)}, other_bars, [(*m, lag) for m in MOMENTS])


@pytest.mark.parametrize("table", ["prior_close", "adjustments"])
def test_loader_with_tables(table):
    bars = made_bars()
    rows, value = bars[["date", "ticker"]].drop_duplicates(), {"prior_close": "prior_close",
                                                               "adjustments": "factor"}[table]
    rng = np.random.default_rng(8)
    rows = rows.assign(**{value: 100.0 if table == "prior_close" else rng.choice([1, 0.5], len(rows))})
    def load(world):
        return from_bars(world["bars"], world["signals"], **{table: world[table]}, max_gap=None, max_stale="40min")[0]
    world = {"bars": bars, "signals": made_tables(bars)["signals"], table: rows}
    unmoved(loaded_by(load), world, other_bars, [(*m, "0min") for m in MOMENTS])


SIGNALS = {"reversal": lambda c: reversal(c), "reversal over 2": lambda c: reversal(c, 2),
           "momentum": lambda c: momentum(c, 2, 1),
           "momentum at once": lambda c: momentum(c, 1, 0)}


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("adjusted", [False, True])
def test_signals_from_bars(name, adjusted):
    bars = made_bars()
    rows = bars[["date", "ticker"]].drop_duplicates()
    rows = rows.assign(factor=np.random.default_rng(8).choice([1, 0.9], len(rows)))
    def load(world):
        given = {"adjustments": world["adjustments"]} if adjusted else {}
        return from_bars(world["bars"], SIGNALS[name](daily_closes(world["bars"], **given)), **given,
                         max_stale="40min")[0]
    world = {"bars": bars} | ({"adjustments": rows} if adjusted else {})
    unmoved(loaded_by(load), world, other_bars, [(*m, "0min") for m in MOMENTS[1:]])


def test_policy_on_loaded_days(train):
    "From bars to decisions: later bars move no exit."
    bars = made_bars()
    def load(world):
        return from_bars(world["bars"], world["signals"], snapshots=["10:30", "12:00", "14:00", "15:00"],
                         max_stale="40min")[0]
    world = {"bars": bars, "signals": made_tables(bars)["signals"]}
    policy = learned(load(world), "path")
    def see(world, moment):
        panel, (date, time, _) = load(world), moment
        gone = policy.exit_steps(panel)[:, None] <= np.arange(panel.T)[:, None]
        day = panel.dates.astype(str)
        return {t: gone[:, k][(day < date) | ((day == date) & (t <= time))] for k, t in enumerate(panel.times)}
    unmoved(see, world, other_bars, [(*m, "0min") for m in MOMENTS])


# ---- what leaks is caught, by the same helper ----
def caught(see, world, change, moments, match):
    with pytest.raises(AssertionError, match=match): unmoved(see, world, change, moments)


def test_a_leaking_loader_is_caught():
    "Bars that carry the time at which they begin, read as if it were the one at which they end."
    bars = made_bars().query("time < '16:00'")
    world = {"bars": bars, **made_tables(bars)}
    def load(world): return from_bars(world["bars"], world["signals"], stamp="end", max_stale="40min")[0]
    caught(loaded_by(load), world, other_bars, [(*m, "30min") for m in MOMENTS], "return looks ahead")


def test_a_leaking_signal_is_caught():
    "A signal from the close of the day on which it is held, and one in units of all days."
    bars = made_bars()
    def same_day(c): return -(c / c.shift(1) - 1)
    def whole_sample(c): return (r := reversal(c)) / r.stack().std()
    for make in (same_day, whole_sample):
        def load(world): return from_bars(world["bars"], make(daily_closes(world["bars"])), max_stale="40min")[0]
        caught(loaded_by(load), {"bars": bars}, other_bars, [(*m, "0min") for m in MOMENTS[1:]], "looks ahead|shape")


def tomorrow(p): return np.roll(p.marks(), -1, 1)[..., None]
def of_the_day(p): return ((p.marks() - p.marks().mean(1, keepdims=True)) / (p.marks().std(1,
                                                                                           keepdims=True) + 1e-9))[...,
                                                                                                                   None]
def of_all_days(p): return ((p.marks() - p.marks().mean()) / p.marks().std())[..., None]
def filled_back(p): return np.stack([pd.DataFrame(day).bfill().fillna(0).to_numpy() for day in p.returns])[..., None]
def gap_counted(p): return np.broadcast_to(np.isnan(p.returns).sum(1, keepdims=True), p.shape)[..., None]
def later_halted(p): return np.broadcast_to(p.tradable.all(1, keepdims=True), p.shape)[..., None]


@pytest.mark.parametrize("build", [tomorrow, of_the_day, of_all_days, filled_back, gap_counted, later_halted])
def test_leaking_features_are_caught(panel, build):
    "The next price, normalizations over the day and over all days, gaps filled backwards, gaps and halts counted."
    features = feature_set(build)
    caught(seen_by(features), panel, other_panel, moments_of(panel), "stock features looks ahead")
    if build in (tomorrow, of_the_day, of_all_days):  # and the decisions of who goes by them
        def exits(p): return first_exit((features(p)[0][..., 0] > 0) & may_act(p))
        caught(decided_by(exits), panel, other_panel, moments_of(panel), "decisions looks ahead")


def test_leaking_policies_are_caught(panel):
    caught(decided_by(Hindsight().exit_steps), panel, other_panel, moments_of(panel), "decisions looks ahead")
    def level_of_the_sample(p): return Threshold(float(np.quantile(p.marks(), 0.8))).exit_steps(p)
    caught(decided_by(level_of_the_sample), panel, other_panel, moments_of(panel), "decisions looks ahead")


def test_a_leaking_training_is_caught(train):
    "Trained on what it is judged by: the helper sees the weights move."
    def see(world, moment):
        torch.manual_seed(0)
        agent = FactorizedPPOEOD.from_panel(world, world, PPOConfig(epochs=1, hidden=4, rollouts_per_epoch=4))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            agent.train(progress=False)
        return weights_of(agent)
    caught(see, train, other_panel, [(16, train.T - 1, "other")], "looks ahead")
