"""The wheel: built from the source archive, installed into an empty environment, imported and asked for help there."""
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_SHIPPED = (".venv", ".git", "build", "dist", "runs", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "nbs")
DEVELOPMENT_ONLY = ["nbdev", "fastcore", "execnb", "IPython", "pytest", "scipy"]


def call(*command, cwd):
    "What a command prints; the test fails with its output when it fails."
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    env["PYTHONDONTWRITEBYTECODE"] = "1"  # written once and thrown away: not worth the seconds
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "Built in a copy of the project, by way of the source archive."
    tmp = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, tmp / "source", ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp / "dist", tmp / "source", cwd=tmp)
    return next((tmp / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    "The interpreter of an environment that holds the wheel and what it requires, nothing else."
    env = tmp_path_factory.mktemp("empty") / "env"
    venv.create(env, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", env / "bin" / "python", "--disable-pip-version-check"]
    call(*pip, "install", "-qq", "--no-compile", "--constraint", ROOT / "requirements.lock", wheel, cwd=env)
    yield env / "bin" / "python"
    shutil.rmtree(env)  # hundreds of megabytes


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    kinds = (".py", ".typed", ".ipynb")
    ours = {f"eod_exit_ppo/{p.name}" for p in (ROOT / "eod_exit_ppo").iterdir() if p.suffix in kinds}
    assert {"eod_exit_ppo/py.typed", "eod_exit_ppo/report_template.ipynb"} < ours
    assert {n for n in names if ".dist-info/" not in n} == ours
    assert any(n.endswith("licenses/LICENSE") for n in names)


MODULES = [p.stem for p in (ROOT / "eod_exit_ppo").glob("[!_]*.py")]


def test_the_unpacked_wheel_needs_no_development_tools(wheel, tmp_path):
    "In this environment, where the tools are there and may not be imported."
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = f"""
import importlib, sys
sys.path.insert(0, {str(tmp_path)!r})
sys.modules.update(dict.fromkeys({DEVELOPMENT_ONLY}))
for m in {MODULES}: importlib.import_module('eod_exit_ppo.' + m)
import eod_exit_ppo
assert eod_exit_ppo.__file__.startswith({str(tmp_path)!r}), eod_exit_ppo.__file__
sys.modules['eod_exit_ppo.cli'].app(['--help'])
"""
    help_text = call(sys.executable, "-I", "-c", code, cwd=tmp_path)
    assert all(word in help_text for word in ("demo", "train", "evaluate"))


@pytest.mark.slow
def test_imports_without_the_development_tools(python, tmp_path):
    code = f"""
import importlib, importlib.util, eod_exit_ppo
assert 'site-packages' in eod_exit_ppo.__file__, eod_exit_ppo.__file__
there = [m for m in {DEVELOPMENT_ONLY} if importlib.util.find_spec(m)]
assert not there, f'not needed, but there: {{there}}'
for m in {MODULES}: importlib.import_module('eod_exit_ppo.' + m)
print(eod_exit_ppo.__version__)
"""
    version = call(python, "-I", "-c", code, cwd=tmp_path).strip()
    assert f"version = {version}" in (ROOT / "settings.ini").read_text().splitlines()


@pytest.mark.slow
def test_command_line_answers(python, tmp_path):
    for command in ([python.parent / "eod-exit-ppo"], [python, "-I", "-m", "eod_exit_ppo"]):
        help_text = call(*command, "--help", cwd=tmp_path)
        assert all(word in help_text for word in ("demo", "train", "evaluate"))
