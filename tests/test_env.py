"""The environment, from outside: Gymnasium's checker, rewards that add up, the package's own exits, nothing ahead; and
models of stable-baselines3 as policies."""
import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from eod_exit_ppo import Exits, FactorizedPPOEOD, IntradayPanel, LeastSquaresMC, PPOConfig, compare
from eod_exit_ppo.bounds import exit_shares
from eod_exit_ppo.checks import refused
from eod_exit_ppo.env import ExitEnv, ExitVectorEnv
from eod_exit_ppo.limits import Limits
from eod_exit_ppo.live import replay
from eod_exit_ppo.sb3 import Sb3Env, from_sb3
from eod_exit_ppo.terms import as_objective
from eod_exit_ppo.walk import WalkForward, walk_forward

gymnasium = pytest.importorskip("gymnasium")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:gymnasium", "ignore::UserWarning:stable_baselines3")


def lively_panel(D=12, T=5, N=14, seed=0):
    "Days with costs, gaps, stocks that stand still, and stocks without a weight."
    plain, rng = IntradayPanel.synthetic(D=D, T=T, N=N, seed=seed), np.random.default_rng(seed)
    weights, returns = plain.weights.copy(), plain.returns.copy()
    weights[rng.random(weights.shape) < 0.15] = 0
    weights[:, 0], weights[:, 1] = 1, -1
    tradable = rng.random(returns.shape) < 0.8
    returns[(rng.random(returns.shape) < 0.1) & ~tradable] = np.nan
    return IntradayPanel(plain.signals, returns, weights, tradable, plain.dates, plain.times,
                         plain.tickers).with_costs(early_bps=4, close_bps=1)


PANEL = lively_panel()


def smooth_share(x, days):
    "A term of one's own: the squared share of the number of stocks that are exited."
    return (x.mean(2) ** 2).sum(1)


def actions_of(env, rng):
    space = getattr(env, "single_action_space", env.action_space)
    shape = (env.num_envs, *space.shape) if hasattr(env, "num_envs") else space.shape
    return rng.normal(-0.5, 1, shape) if type(space).__name__ == "Box" else (rng.random(shape) < 0.3).astype(np.int8)


def simulated(env, rng, **options):
    "Rewards of a whole episode, the last thing told, and everything seen."
    seen, told = env.reset(options=options or None)
    rewards, everything, over = [], [seen], False
    while not over:
        seen, reward, over, cut, told = env.step(actions_of(env, rng))
        assert not cut and isinstance(reward, float)
        rewards.append(reward)
        everything.append(seen)
    return rewards, told, everything


SETTINGS = [{}, dict(actions="priorities"), dict(limits=Limits(max_net=0.2)), dict(view="stock"),
            dict(features="base", objective="payoff - impact(0.1)"),
            dict(actions="priorities", limits=Limits(0.3, 0.2), objective="exponential_utility(5)")]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gymnasium_accepts_it(settings):
    from gymnasium.utils.env_checker import check_env
    check_env(ExitEnv(PANEL, **settings), skip_render_check=True)
    assert isinstance(ExitVectorEnv(PANEL, 3, **settings), gymnasium.vector.VectorEnv)


@pytest.mark.parametrize("objective", [
    "payoff", "payoff - impact(0.05)", "payoff - impact(0.1, close=0.01) - neutrality(0.5)", "exponential_utility(20)",
    "0.7 * payoff - 0.3 * neutrality(2)", smooth_share,
    as_objective("payoff") - smooth_share], ids=lambda x: getattr(x, "__name__", str(x)))
@pytest.mark.parametrize("limits", [None, Limits(0.2, 0.3)], ids=str)
def test_rewards_sum_to_the_objective(objective, limits):
    env, rng, worth = ExitEnv(PANEL, objective, limits), np.random.default_rng(1), as_objective(objective)
    for d in range(PANEL.D):
        rewards, told, _ = simulated(env, rng, day=d)
        assert told["day"] == d and len(rewards) == PANEL.T - 1
        exits = Exits.of(PANEL[[d]], told["exit_steps"][None])
        assert sum(rewards) == pytest.approx(worth(exits)[0], abs=0 if "0.7" not in str(objective) else 1e-16, rel=0)
    many = ExitVectorEnv(PANEL, PANEL.D, objective, limits)
    many.reset(options={"day": np.arange(PANEL.D)})
    steps = [many.step(actions_of(many, rng)) for _ in range(PANEL.T - 1)]
    told = steps[-1][-1]["final_info"]
    exits = Exits.of(PANEL, told["exit_steps"])
    np.testing.assert_allclose(sum(s[1] for s in steps), worth(exits), rtol=0, atol=1e-16)
    if limits: assert np.abs(exits.exposure()["net"]).max() <= 0.2 + 1e-6


def test_stocks_alone_sum_to_the_payoff():
    env, rng = ExitEnv(PANEL, view="stock"), np.random.default_rng(2)
    weights = np.zeros(PANEL.weights.shape)
    for side in (1, -1):
        on = np.maximum(side * PANEL.weights, 0)
        weights += on / on.sum(1, keepdims=True)
    steps, earned = np.full(weights.shape, PANEL.T - 1), np.zeros(PANEL.D)
    for d in range(PANEL.D):
        for i in range(PANEL.N):
            if not (PANEL.tradable[d, :-1, i].any() and PANEL.weights[d, i]):
                refused(lambda: env.reset(options=dict(day=d, stock=i)), "has no choice on day")
                continue
            _, told = env.reset(options=dict(day=d, stock=i))
            over = False
            while not over:
                assert PANEL.tradable[d, told["t"], i]
                t, exit_now = told["t"], int(rng.random() < 0.3)
                if exit_now: steps[d, i] = t
                _, reward, over, _, told = env.step(exit_now)
            earned[d] += weights[d, i] * reward
    stuck = ~PANEL.tradable[:, :-1].any(1) & (PANEL.weights != 0)  # they are closed, without an episode
    rest = weights * (np.sign(PANEL.weights) * PANEL.marks()[:, -1] - PANEL.costs[1])
    np.testing.assert_allclose(earned + (rest * stuck).sum(1), Exits.of(PANEL, steps).payoff(), atol=2e-7)


# ---- the package's own policies, driven through the environment ----
@pytest.fixture(scope="module")
def agent():
    agent = FactorizedPPOEOD.from_panel(PANEL, config=PPOConfig(epochs=3, rollouts_per_epoch=4), seed=1)
    agent.train(progress=False)
    return agent


@pytest.mark.parametrize("limits", [None, Limits(max_net=0.1), Limits(max_share=0.15), Limits(0.2, 0.2)], ids=str)
def test_the_own_policy_gives_its_own_exits(agent, limits):
    policy = agent.policy.limited(limits)
    wishes = ExitEnv(PANEL, limits=limits, actions="priorities" if limits else "wishes")
    for d in range(PANEL.D):
        seen, told = wishes.reset(options={"day": d})
        over, day = False, PANEL[[d]]
        while not over:
            chance = policy.exit_probability(day, seen["held"].astype(bool), told["t"])
            assert (seen["may_act"].astype(bool) == (chance > 0)).all()
            logits = np.log(np.maximum(chance, 1e-300) / (1 - chance))
            seen, _, over, _, told = wishes.step(logits if limits else policy.wishes(day, chance, told["t"]))
        np.testing.assert_array_equal(told["exit_steps"] * (PANEL.weights[d] != 0),
                                      policy.exit_steps(day)[0] * (PANEL.weights[d] != 0))


@pytest.mark.parametrize("limits", [None, Limits(0.1, 0.2)], ids=str)
def test_a_rule_gives_its_own_exits(limits):
    rule = LeastSquaresMC.fit(PANEL)
    env = ExitVectorEnv(PANEL, PANEL.D, limits=limits, actions="priorities")
    env.reset(options={"day": np.arange(PANEL.D)})
    advantage = np.nan_to_num(rule.advantage(PANEL))
    for t in range(PANEL.T - 1): *_, told = env.step(advantage[:, t])
    steps, on = told["final_info"]["exit_steps"], PANEL.weights != 0
    wanted = (limits(rule) if limits else rule).exit_steps(PANEL)
    np.testing.assert_array_equal(steps[on], wanted[on])


# ---- seeds, order, and what comes later ----
@pytest.mark.parametrize("view", ["book", "stock"])
def test_seeds(view):
    env, other = ExitEnv(PANEL, view=view), ExitEnv(PANEL, view=view)
    def drawn(env, seed):
        first = env.reset(seed=seed)[1]
        return [(x["day"], x.get("stock")) for x in (first, *(env.reset()[1] for _ in range(9)))]
    before, global_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert drawn(env, 5) == drawn(other, 5) == drawn(env, 5) != drawn(env, 6)
    assert (before == torch.get_rng_state()).all() and (global_state == np.random.get_state()[1]).all()  # noqa: NPY002
    again = pickle.loads(pickle.dumps(env))
    assert [again.reset()[1]["day"] for _ in range(5)] == [env.reset()[1]["day"] for _ in range(5)]
    assert copy.deepcopy(env).observation_space == env.observation_space


def test_the_vector_form_begins_anew_in_the_step_that_ends():
    many, rng = ExitVectorEnv(PANEL, 40, view="stock"), np.random.default_rng(0)
    seen, told = many.reset(seed=0)
    ended = 0
    for _ in range(12):
        now = told["day"].copy(), told["stock"].copy()
        seen, reward, done, cut, told = many.step(actions_of(many, rng))
        assert seen in many.observation_space and not cut.any() and (reward[~done] == 0).all()
        if not done.any(): continue
        ended += done.sum()
        assert (told["final_info"]["day"] == now[0]).all() and (told["final_info"]["stock"] == now[1]).all()
        assert (told["final_info"]["t"][done] == PANEL.T - 1).all() and (told["t"] < PANEL.T - 1).all()
        assert (told["_final_obs"] == done).all() and (told["final_obs"][~done] == seen[~done]).all()
    assert ended > 40


def test_one_at_a_time_is_as_many_at_once():
    one, many = (f(PANEL, *n, objective="payoff - impact(0.1)", limits=Limits(0.3)) for f, n in (
        (ExitEnv, ()), (ExitVectorEnv, (PANEL.D,))))
    all_seen, _ = many.reset(options={"day": np.arange(PANEL.D)})
    wishes = np.random.default_rng(3).random((PANEL.T - 1, PANEL.D, PANEL.N)) < 0.3
    path = [(all_seen, None), *(many.step(w)[:2] for w in wishes)]
    for d in range(PANEL.D):
        seen, _ = one.reset(options={"day": d})
        for t in range(PANEL.T - 1):
            for k in seen: np.testing.assert_array_equal(seen[k], path[t][0][k][d], err_msg=k)
            seen, reward, *_ = one.step(wishes[t, d])
            assert reward == pytest.approx(path[t + 1][1][d], abs=1e-8)


@pytest.mark.parametrize("actions", ["wishes", "priorities"])
def test_the_order_of_stocks_does_not_matter(actions):
    order = np.random.default_rng(4).permutation(PANEL.N)
    settings = dict(objective="payoff - impact(0.1)", limits=Limits(0.2, 0.2), actions=actions)
    here, there = (ExitVectorEnv(p, PANEL.D, **settings) for p in (PANEL, PANEL.stocks(order)))
    (a, _), (b, _) = (env.reset(options={"day": np.arange(PANEL.D)}) for env in (here, there))
    rng = np.random.default_rng(5)
    for _ in range(PANEL.T - 1):
        for k in a: np.testing.assert_allclose(a[k] if k == "context" else a[k][:, order], b[k], atol=1e-5, err_msg=k)
        act = actions_of(here, rng)
        a, reward, _, _, told = here.step(act)
        b, other, _, _, told2 = there.step(act[:, order])
        np.testing.assert_allclose(reward, other, atol=1e-8)
    np.testing.assert_array_equal(told["final_info"]["exit_steps"][:, order], told2["final_info"]["exit_steps"])


@pytest.mark.parametrize("view", ["book", "stock"])
@pytest.mark.parametrize("features", ["path", "base", "level"])
def test_nothing_is_seen_ahead(view, features):
    for known in range(PANEL.T - 1):
        returns, tradable = PANEL.returns.copy(), PANEL.tradable.copy()
        returns[:, known + 1:] = np.random.default_rng(6).normal(0, 0.1, returns[:, known + 1:].shape)
        tradable[:, known + 1:] = ~tradable[:, known + 1:]
        changed = PANEL.with_arrays(returns=returns, tradable=tradable)
        envs, rng = [ExitVectorEnv(p, PANEL.D, view=view, features=features) for p in (PANEL, changed)], None
        if view == "stock":
            d, i = np.nonzero((PANEL.weights != 0) & PANEL.tradable[:, :known + 1].any(1))
            envs = [ExitVectorEnv(p, len(d), view=view, features=features) for p in (PANEL, changed)]
            (a, x), (b, y) = (e.reset(options=dict(day=d, stock=i)) for e in envs)
            before = np.ones(len(d), bool)  # of these nothing later has been seen so far
            for _ in range(known + 1):
                np.testing.assert_array_equal(a[before], b[before])
                np.testing.assert_array_equal(x["t"][before], y["t"][before])
                (a, _, _, _, x), (b, _, _, _, y) = (e.step(np.zeros(len(d), int)) for e in envs)
                before &= (x["t"] <= known) & (y["t"] <= known) & (x["day"] == d) & (x["stock"] == i) & (y["day"] == d)
                before &= ~x.get("_final_obs", ~before) & ~y.get("_final_obs", ~before)
            continue
        (a, _), (b, _) = (e.reset(options={"day": np.arange(PANEL.D)}) for e in envs)
        rng = np.random.default_rng(7)
        for t in range(known + 1):
            for k in a: np.testing.assert_array_equal(a[k], b[k], err_msg=f"{k} at {t}")
            act = actions_of(envs[0], rng)
            (a, ra, *_), (b, rb, *_) = (e.step(act) for e in envs)
            if t < PANEL.T - 2: np.testing.assert_array_equal(ra, rb)  # what is exited is paid then, at what is known


# ---- bad input ----
@pytest.mark.parametrize("settings, match, error", [
    (dict(panel=3), "panel is a int: give an IntradayPanel", TypeError),
    (dict(objective="payoff - risk(2)"), r"objective has risk\(2\), which is taken over several days", ValueError),
    (dict(objective="pay"), "there is no term 'pay'", ValueError),
    (dict(objective=3), "objective is a int", TypeError),
    (dict(limits=0.1), "limits is a float: give Limits", TypeError),
    (dict(view="side"), "view is 'side': give 'book' or 'stock'", ValueError),
    (dict(actions="logits"), "actions is 'logits': give 'wishes' or 'priorities'", ValueError),
    (dict(features="new"), "features 'new' is unknown", ValueError),
    (dict(view="stock", objective="payoff - impact(1)"), "objective is payoff - impact.1.: a stock by", ValueError),
    (dict(view="stock", limits=Limits(0.1)), "limits is Limits.*give view='book'", ValueError),
    (dict(view="stock", actions="priorities"), "actions is 'priorities': a stock by itself", ValueError),
    (dict(panel=IntradayPanel.synthetic(D=2, T=1, N=3)), "panel has one snapshot, the close", ValueError)], ids=str)
def test_settings_are_refused_by_name(settings, match, error):
    refused(lambda: ExitEnv(**(dict(panel=PANEL) | settings)), match, error)
    refused(lambda: ExitVectorEnv(**(dict(panel=PANEL, num_envs=2) | settings)), match, error)


def test_calls_are_refused_by_name():
    book, priorities, alone = ExitEnv(PANEL), ExitEnv(PANEL, actions="priorities"), ExitEnv(PANEL, view="stock")
    refused(lambda: book.step(np.zeros(PANEL.N)), "no episode is under way: call reset", RuntimeError)
    refused(lambda: ExitVectorEnv(PANEL, 2).step(0), "no episode is under way: call reset", RuntimeError)
    refused(lambda: ExitVectorEnv(PANEL, 0), "num_envs is 0")
    for env in (book, priorities, alone): env.reset(seed=0)
    refused(lambda: book.step(np.zeros(3)), r"action has shape \(3,\)")
    refused(lambda: book.step(np.full(PANEL.N, 0.5)), "action is 0.5 for stock 0: give 1 to exit, 0 to hold")
    refused(lambda: priorities.step(np.full(PANEL.N, np.nan)), "action is nan for stock 0: give finite numbers")
    refused(lambda: alone.step(2), "action is 2")
    for options, match in [({"day": 99}, "give positions from 0 to 11"), ({"day": 1.5}, "give a whole number"),
                           ({"stock": 1}, "options name 'stock': give 'day'"), ({"day": [1, 2]}, "options.'day'")]:
        refused(lambda: book.reset(options=options), match)


def test_without_gymnasium_it_says_what_to_install():
    code = ("import sys; sys.modules['gymnasium'] = None\n"
            "import eod_exit_ppo as e\n"
            "try: e.ExitEnv(e.IntradayPanel.synthetic(D=2, T=3, N=4))\n"
            "except ModuleNotFoundError as error: print(error)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'eod_exit_ppo[env]'" in done.stdout, done.stderr


def test_gymnasium_is_not_imported_with_the_package():
    code = "import sys, eod_exit_ppo; print({'gymnasium', 'stable_baselines3'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# ---- stable-baselines3 ----
@pytest.fixture(scope="module")
def models():
    sb3 = pytest.importorskip("stable_baselines3")
    common = dict(n_steps=8, batch_size=64, n_epochs=1, gamma=1.0, seed=0, device="cpu")
    def book(**settings): return sb3.PPO("MultiInputPolicy", Sb3Env(ExitVectorEnv(PANEL, 8, **settings)), **common)
    alone = sb3.PPO("MlpPolicy", Sb3Env(ExitVectorEnv(PANEL, 64, view="stock"), unit=0.02), **common)
    return dict(alone=alone.learn(4096), wishes=book().learn(256), priorities=book(actions="priorities").learn(256))


@pytest.mark.parametrize("kind", ["alone", "wishes", "priorities"])
def test_a_model_decides_alike_everywhere(models, kind):
    policy = from_sb3(models[kind])
    steps = policy.exit_steps(PANEL)
    assert hasattr(policy, "exit_probability") == (kind != "priorities")
    np.testing.assert_array_equal(replay(policy, PANEL), np.where(PANEL.weights != 0, steps, replay(policy, PANEL)))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(policy)).exit_steps(PANEL), steps)
    assert np.isfinite(compare({"sb3": policy}, PANEL)["mean"]).all()
    net = Exits.of(PANEL, Limits(max_share=0.1)(policy))
    sold = exit_shares(net)[:, :-1]
    assert sold.max() <= 0.1 + 1e-6
    before = steps.copy()
    models[kind].learn(256)
    np.testing.assert_array_equal(policy.exit_steps(PANEL), before)  # it is a copy


@pytest.mark.parametrize("kind", ["wishes", "priorities"])
def test_a_model_of_books_exits_as_in_its_environment(models, kind):
    for limits in (None, Limits(0.3, 0.2)):
        policy = from_sb3(models[kind], limits=limits)
        env = ExitVectorEnv(PANEL, PANEL.D, limits=limits, actions="priorities")
        seen, _ = env.reset(options={"day": np.arange(PANEL.D)})
        for _ in range(PANEL.T - 1):
            if kind == "wishes": action = models[kind].policy.get_distribution(
                models[kind].policy.obs_to_tensor(seen)[0]).distribution.probs.detach().numpy() - 0.5
            else: action = models[kind].predict(seen, deterministic=True)[0]
            seen, _, _, _, told = env.step(action)
        on = PANEL.weights != 0
        np.testing.assert_array_equal(policy.exit_steps(PANEL)[on], told["final_info"]["exit_steps"][on])


def test_a_model_is_walked_forward(models):
    def fit(days): return from_sb3(models["alone"])
    result = walk_forward(PANEL, splitter=WalkForward(train=4, test=4), policies={"sb3": fit}, name=None, jobs=1,
                          progress=False)
    assert "sb3" in repr(result)


def test_observations_that_were_normalized(models):
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize
    env = VecNormalize(Sb3Env(ExitVectorEnv(PANEL, 16, view="stock")))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(512)
    found, given = from_sb3(model), from_sb3(model, normalize=env)
    assert found.normalize is not env
    np.testing.assert_array_equal(found.exit_steps(PANEL), given.exit_steps(PANEL))
    env.obs_rms.mean += 5
    np.testing.assert_array_equal(found.exit_steps(PANEL), given.exit_steps(PANEL))


def test_models_are_refused_by_name(models):
    refused(lambda: from_sb3(3), "model is a int: give a model of stable-baselines3", TypeError)
    refused(lambda: from_sb3(models["alone"], "base").exit_steps(PANEL), "give a stock of shape .* trained on")
    refused(lambda: from_sb3(models["wishes"]).exit_steps(PANEL.stocks(np.arange(9))), "a book of as many stocks")
    held = np.ones(PANEL.N, bool)
    refused(lambda: from_sb3(models["alone"]).exit_probability(PANEL, held, 0), "the panel has 12 days")
    refused(lambda: Sb3Env(PANEL), "env is a IntradayPanel: give an ExitVectorEnv", TypeError)
    refused(lambda: Sb3Env(ExitVectorEnv(PANEL, 2), unit=0), "unit is 0: give a return above 0")
