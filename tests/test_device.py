"""Where it computes: on the processor, on a GPU where there is one, and on a pretended GPU where there is none."""
import numpy as np
import pytest
import torch
from pretend_gpu import PretendGPU

from eod_exit_ppo import ExactOptimum, FactorizedPPOEOD, IntradayPanel, PPOConfig, payoff
from eod_exit_ppo import machine

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))
RECIPES = {
    "stock": PPOConfig.per_stock(hidden=16, rollouts_per_epoch=4, eval_every=100),
    "stock, a few": PPOConfig.per_stock(hidden=16, rollouts_per_epoch=4, eval_every=100, stock_subsample=7),
    "book": PPOConfig.joint(hidden=16, rollouts_per_epoch=4, ppo_epochs=2, eval_every=100, stock_subsample=7),
}


@pytest.fixture(scope="module")
def panels():
    return IntradayPanel.synthetic(D=24, T=5, N=20).split(16)


@pytest.fixture
def device(request, monkeypatch):
    "The GPU, or one that is pretended for as long as the test lasts."
    if request.param != "pretended":
        yield request.param
    else:
        monkeypatch.setattr("eod_exit_ppo.machine.has_bf16", lambda device: True)
        with PretendGPU():
            yield "cuda"


def weights(agent):
    return {k: v.detach().cpu() for k, v in agent.model.state_dict().items()}


everywhere = pytest.mark.parametrize("device", ["pretended", CUDA], indirect=True)


@everywhere
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_train_on_a_gpu(device, recipe, precision, panels, tmp_path):
    "Train, decide, save, go on here and there; the same weights decide alike on both devices."
    if precision == "bf16" and not all(machine.has_bf16(torch.device(d)) for d in ("cpu", device)):
        pytest.skip("no bfloat16 here")
    config = PPOConfig(**{**vars(RECIPES[recipe]), "precision": precision})
    agent = FactorizedPPOEOD.from_panel(*panels, config=config, device=device)
    first = FactorizedPPOEOD.from_panel(*panels, config=config)
    assert all(torch.equal(v, weights(first)[k]) for k, v in weights(agent).items())  # a seed is a seed on any device
    agent.train(epochs=3, progress=False)
    assert agent.model.logit_head.weight.device.type == agent.generator.device.type == "cuda"
    assert np.isfinite(agent.history.drop(columns=["eval_payoff", "held_out"]).to_numpy()).all()
    assert all(type(x) is float for row in agent._rows for k, x in row.items() if k != "epoch")
    agent.save(tmp_path / "agent.pt")

    here = FactorizedPPOEOD.load(tmp_path / "agent.pt", *panels, device="cpu")
    there = FactorizedPPOEOD.load(tmp_path / "agent.pt", *panels, device=device)
    steps = agent.policy.exit_steps(panels[1])
    for other in (here, there):
        np.testing.assert_array_equal(other.policy.exit_steps(panels[1]), steps)
        held = np.arange(20) % 3 > 0
        np.testing.assert_allclose(other.policy.exit_probability(panels[1][0], held, 1),
                                   agent.policy.exit_probability(panels[1][0], held, 1), rtol=1e-9)
        other.train(epochs=2, progress=False)  # the optimizer's state is where the weights are
        assert len(other.history) == 5 and np.isfinite(other.evaluate(5))
    agent.train(epochs=2, progress=False)
    for k, v in weights(there).items():  # goes on as if it had never been away
        torch.testing.assert_close(v, weights(agent)[k], rtol=1e-3, atol=1e-4)


@everywhere
def test_auto_takes_the_gpu(device, panels):
    assert FactorizedPPOEOD.from_panel(*panels, device="auto").device.type == "cuda"


@everywhere
def test_days_too_many_to_keep(device, panels):
    "A panel beyond what is kept on the device goes there a round at a time."
    agent = FactorizedPPOEOD.from_panel(*panels, config=RECIPES["stock"], device=device)
    agent._days = None
    agent.train(epochs=2, progress=False)
    assert len(agent.history) == 2


def test_the_pretended_gpu_refuses_what_a_gpu_refuses():
    with PretendGPU():
        x = torch.ones(3, device="cuda")
        for wrong in (lambda: x + torch.ones(3), lambda: torch.rand(3, generator=torch.Generator(), device="cuda"),
                      lambda: torch.rand(3, generator=torch.Generator("cuda")), x.numpy):
            with pytest.raises((RuntimeError, TypeError)): wrong()
        assert (x + 1).sum().item() == 6 and (2 * x).cpu().numpy().sum() == 6
    with pytest.raises((RuntimeError, AssertionError)) if not torch.cuda.is_available() else pytest.raises(TypeError):
        torch.ones(3, device="cuda").numpy()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_auto_without_a_gpu(panels):
    assert FactorizedPPOEOD.from_panel(*panels, device="auto").device.type == "cpu"
    with pytest.raises(ValueError, match="device 'cuda' is not there .*: give 'cpu', or 'auto'"):
        FactorizedPPOEOD.from_panel(*panels, device="cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", 3.5])
def test_unknown_device(name, panels):
    with pytest.raises(ValueError, match=f"device '{name}' is not there"):
        FactorizedPPOEOD.from_panel(*panels, device=name)


def test_bf16_needs_hardware(panels, monkeypatch, tmp_path):
    monkeypatch.setattr("eod_exit_ppo.machine.has_bf16", lambda device: False)
    with pytest.raises(ValueError, match="precision is 'bf16', but this cpu has no .*: give precision='float32'"):
        FactorizedPPOEOD.from_panel(*panels, config=PPOConfig(precision="bf16"))
    monkeypatch.setattr("eod_exit_ppo.machine.has_bf16", lambda device: True)
    agent = FactorizedPPOEOD.from_panel(*panels, config=PPOConfig(hidden=16, precision="bf16"))
    agent.train(epochs=2, progress=False)
    agent.save(tmp_path / "agent.pt")
    monkeypatch.setattr("eod_exit_ppo.machine.has_bf16", lambda device: False)
    again = FactorizedPPOEOD.load(tmp_path / "agent.pt")  # to decide needs no bfloat16
    np.testing.assert_array_equal(again.policy.exit_steps(panels[1]), agent.policy.exit_steps(panels[1]))


@pytest.mark.skipif(not machine.has_bf16(torch.device("cpu")), reason="this processor has no bfloat16")
def test_bf16_learns_as_much():
    "On a small market; benchmarks/scale.py holds the default one to a share unchanged within 0.001."
    train, test = IntradayPanel.synthetic(D=90, N=100).split(60)
    best = payoff(test, ExactOptimum.synthetic(D=90, N=100).exit_steps(test)).mean()
    share = {}
    for precision in ("float32", "bf16"):
        agent = FactorizedPPOEOD.from_panel(train, test, config=PPOConfig(precision=precision, eval_every=100))
        agent.train(epochs=40, progress=False)
        share[precision] = payoff(test, agent.policy.exit_steps(test)).mean() / best
    assert share["float32"] > 0.97 and share["bf16"] > share["float32"] - 0.005
