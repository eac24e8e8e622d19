"""tools/notebooks.py, on a folder of its own: each notebook by itself, and what fails is said with its cell."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat import v4, write

TOOL = Path(__file__).parents[1] / "tools" / "notebooks.py"
GOOD = ["x = 1", "import os\nassert os.getcwd().endswith('nbs') and __name__ == '__main__'",
        "import matplotlib, matplotlib.pyplot as plt\nplt.plot([x]); assert 'inline' in matplotlib.get_backend()",
        "from joblib import Parallel, delayed\ndef square(k): return k * k\n"
        "assert Parallel(2)(map(delayed(square), range(3))) == [0, 1, 4]", "#| slow\n1 / 0", "#| eval: false\n1 / 0"]
WRONG = {"fails": (["assert 'x' not in globals()", "def f(): return 1 / 0\nf()"],
                   "ZeroDivisionError: division by zero"),
         "dies": (["import os", "os._exit(3)"], "Kernel died"),
         "stops": (["raise SystemExit(0)"], "SystemExit: 0"), "empty": (["#| slow\nx = 1"], "no cell was executed")}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "nbs").mkdir()
    shutil.copy(TOOL, tmp_path / "tools")
    for name, cells in {"good": GOOD, **{name: cells for name, (cells, _) in WRONG.items()}}.items():
        cells = [v4.new_code_cell(source, id=f"{name}-{k}") for k, source in enumerate(cells)]
        write(v4.new_notebook(cells=cells), tmp_path / "nbs" / f"{name}.ipynb")
    def run(*args):
        done = subprocess.run([sys.executable, "tools/notebooks.py", *args], cwd=tmp_path, capture_output=True,
                              text=True)
        return done.returncode, done.stdout, done.stderr
    return run


def test_all_of_a_folder(run):
    "Several at once, which on Linux are forks of one process."
    status, out, err = run()
    assert status == 1 and "1 of 5 notebooks ran" in out
    assert "nbs/good.ipynb" in out and " 4 cells,  1 slow ones left out" in out
    for name, (_, why) in WRONG.items(): assert why in err.split(f"FAILED nbs/{name}.ipynb")[1].split("\nFAILED")[0]
    assert "fails.ipynb, cell 2 (id fails-1)" in err and "----> 1 def f(): return 1 / 0" in err


@pytest.mark.slow
def test_one_alone_has_a_kernel_of_its_own(run):
    "All but the last cell run; that one is slow, and is asked for."
    status, out, err = run("nbs/good.ipynb", "--slow")
    assert status == 1 and "0 of 1 notebooks ran" in out
    assert "FAILED nbs/good.ipynb, cell 5 (id good-4): ZeroDivisionError" in err
