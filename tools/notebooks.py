"""Run the notebooks as Jupyter would, several at once; count what ran, and say at the end what failed.

On Linux each notebook's kernel is a fork of this process, which has imported what most notebooks import; a kernel
whose outputs are saved, or that is alone, starts from nothing, as Jupyter's do.

    python tools/notebooks.py                  every notebook, without the cells marked `#| slow`
    python tools/notebooks.py --slow --save    every cell, outputs written back and cleaned
    python tools/notebooks.py nbs/01_data.ipynb ...
"""
from __future__ import annotations

import argparse
import base64
import gc
import importlib
import io
import json
import os
import re
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
import psutil
from jupyter_client.provisioning import local_provisioner
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image

ROOT = Path(__file__).parents[1]
DIRECTIVE = re.compile(r"^#\|\s*(.+?)\s*$", re.M)
WIDGET = "application/vnd.jupyter.widget-view+json"
SHARP = "--InlineBackend.figure_formats=retina"  # 200 pixels an inch, shown in the size of 100
# the setting is taken up before the first cell: it warns, and in some notebooks a warning is an error
TAKE_UP = "__import__('matplotlib_inline.config').config.InlineBackend.instance(parent=get_ipython());"
TIMEOUT = 300  # seconds a cell may take; slow cells may take as long as they like
# torch imports its _dynamo, for a second, with the first step of an optimizer; of ours only what any notebook that uses
# the package imports
IMPORTED = ["ipykernel.kernelapp", "torch", "torch._dynamo", "pandas", "scipy.stats", "matplotlib.pyplot",
            "matplotlib.backends.backend_agg", "joblib", "exchange_calendars", "eod_exit_ppo"]


class ForkedKernel:
    "A kernel forked from this process before it has threads, which waits for its command; used as a Popen is."
    stdin = stdout = stderr = None
    waiting: list[ForkedKernel] = []

    def __init__(self):
        self.returncode, (orders, self.orders) = None, os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(orders)
            os.setpgid(self.pid, self.pid)  # signals to the kernel reach its children, and not its parent
            return
        for other in [*self.waiting, self]: os.close(other.orders)  # so that it ends where this process does
        code = 1
        try:
            with open(orders, encoding="utf-8") as pipe: line = pipe.read()
            code = self.serve(**json.loads(line)) if line else 0
        except SystemExit as stop: code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException: sys.excepthook(*sys.exc_info())
        finally: os._exit(code or 0)

    @staticmethod
    def serve(argv: list[str], cwd: str, env: dict[str, str]) -> None:
        "What `python -m ipykernel_launcher` does, in the child."
        import numpy as np
        from ipykernel.kernelapp import IPKernelApp
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        np.random.seed()  # noqa: NPY002  every fork would draw the same
        sys.argv[:] = argv
        IPKernelApp.launch_instance(argv[1:], parent_handle=os.getppid())  # so that it ends where its parent does

    @classmethod
    def prepare(cls, number: int) -> None:
        "Fork `number` kernels, and let Jupyter take them as long as there are some."
        os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # what a kernel sets before any import
        sys.path[0] = str(ROOT)  # the package of this folder, as PYTHONPATH will say
        for name in IMPORTED: importlib.import_module(name)
        gc.freeze()  # pages that no collection touches stay shared
        for _ in range(number): cls.waiting.append(cls())
        local_provisioner.launch_kernel = cls.launch

    @classmethod
    def launch(cls, cmd: list[str], *, env: dict[str, str], cwd: str, **ignored) -> ForkedKernel:
        "Send `cmd`, of Jupyter's kernel specification, to a kernel that waits."
        self = cls.waiting.pop()
        with open(self.orders, "w", encoding="utf-8") as pipe:
            json.dump(dict(argv=cmd[cmd.index("-m") + 1:], cwd=str(cwd), env=dict(env)), pipe)
        return self

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid: self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        while self.poll() is None: time.sleep(0.01)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None: os.kill(self.pid, number)

    def terminate(self) -> None: self.send_signal(signal.SIGTERM)
    def kill(self) -> None: self.send_signal(signal.SIGKILL)


def find_notebooks() -> list[Path]:
    "Every notebook under nbs/, in order; what starts with _ or . is left out, as nbdev does."
    found = (ROOT / "nbs").rglob("*.ipynb")
    return sorted(p for p in found if not any(part[0] in "._" for part in p.relative_to(ROOT).parts))


def directives(cell) -> set[str]:
    "The `#| ...` lines of a code cell, as written after the mark."
    return set(DIRECTIVE.findall(cell.source))


def wanted(cell, slow: bool) -> bool:
    "Is this a cell to execute?"
    if cell.cell_type != "code" or not cell.source.strip():
        return False
    marks = directives(cell)
    return "eval: false" not in marks and (slow or "slow" not in marks)


def processor_seconds(pid: int) -> float:
    "What a process and its children, those that live and those that have ended, have used of the processor."
    living = psutil.Process(pid)
    return sum(sum(p.cpu_times()[:4]) for p in [living, *living.children(recursive=True)])


def in_palette(png: str) -> str:
    "A picture in base64 with 256 colours, in about a third of the space; as it was, where that is smaller."
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    flat, out = picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE), io.BytesIO()
    flat.save(out, format="PNG", optimize=True)
    return min(png, base64.b64encode(out.getvalue()).decode(), key=len)


def compress(outputs: list) -> None:
    "Every picture among the outputs of a cell, in place."
    for output in outputs:
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = in_palette(output.data["image/png"])


def run(path: Path, slow: bool, save: bool) -> tuple[int, int, float, float]:
    "Execute one notebook in a kernel of its own: cells executed, slow cells left out, seconds, processor seconds."
    start = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    chosen = [cell for cell in notebook.cells if wanted(cell, slow)]
    left_out = sum(wanted(cell, True) for cell in notebook.cells) - len(chosen)
    # the client sees the chosen cells alone, but they are the notebook's own, so outputs land in both
    cells = [nbformat.v4.new_code_cell(TAKE_UP), *chosen]
    client = NotebookClient(
        nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata), kernel_name="python3",
        timeout=None if slow else TIMEOUT, record_timing=False, store_widget_state=False,
        extra_arguments=["--log-level=CRITICAL", SHARP],
        resources={"metadata": {"path": str(path.parent)}})
    used = [0.0]
    client.on_cell_executed = lambda **cell: used.append(processor_seconds(client.km.provisioner.pid))
    try:
        client.execute()
    except CellExecutionError as error:
        failed = next(c for c in chosen if any(o.output_type == "error" for o in c.get("outputs", [])))
        place = f"{path.relative_to(ROOT)}, cell {notebook.cells.index(failed) + 1} (id {failed.id})"
        trace = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)
        raise RuntimeError(f"{place}: {error.ename}: {error.evalue}\n{trace}") from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise RuntimeError(f"{path.relative_to(ROOT)}: {error}") from None
    if save:
        for cell in chosen:  # a progress bar that nobody can press is debris
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
            compress(cell.outputs)
        nbformat.write(notebook, path)
    return len(chosen), left_out, time.perf_counter() - start, used[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the notebooks.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="some only (default: all under nbs/)")
    parser.add_argument("--slow", action="store_true", help="cells marked `#| slow` too")
    parser.add_argument("--save", action="store_true", help="write the outputs back, then nbdev_clean")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="notebooks at a time")
    args = parser.parse_args()
    notebooks = [path.resolve() for path in args.notebooks] or find_notebooks()
    workers = max(1, min(args.workers, len(notebooks)))
    forked = sys.platform == "linux" and len(notebooks) > 1 and not args.save
    asked = os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // workers)
    threads = 1 if forked else asked  # a process to be forked has but one
    os.environ.update(
        PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        JUPYTER_PREFER_ENV_PATH="1",  # this environment's kernel, not one of the same name elsewhere
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))

    if forked: ForkedKernel.prepare(len(notebooks))
    if args.slow:  # what takes longest begins first
        notebooks.sort(key=lambda path: not any("slow" in directives(c) for c in nbformat.read(path, 4).cells))
    start, done, failed = time.perf_counter(), [], []
    with tempfile.TemporaryDirectory() as tmp, ThreadPoolExecutor(workers) as pool:
        os.environ.update(IPYTHONDIR=tmp, JUPYTER_RUNTIME_DIR=tmp)  # no one's startup files, no traces
        jobs = {pool.submit(run, path, args.slow, args.save): path for path in notebooks}
        for job in as_completed(jobs):
            path = jobs[job]
            name = str(path.relative_to(ROOT))
            try:
                cells, left_out, seconds, used = job.result()
                if not cells: raise RuntimeError(f"{name}: no cell was executed")
            except Exception as error:
                failed.append(str(error) if isinstance(error, RuntimeError) else f"{name}: {error!r}")
                print(f"  {name:40s} FAILED", flush=True)
            else:
                done.append(path)
                print(f"  {name:36s} {cells:3d} cells, {left_out:2d} slow ones left out, {seconds:5.1f} s "
                      f"({used:5.1f} s of processor time)", flush=True)
    if args.save:
        from nbdev.clean import nbdev_clean
        os.chdir(ROOT)  # where nbdev finds settings.ini
        for path in done:
            nbdev_clean(str(path))
    print(f"{len(done)} of {len(notebooks)} notebooks ran, {time.perf_counter() - start:.0f} s "
          f"({sum(os.times()[:4]):.0f} s of processor time)")
    if failed or not done:
        sys.exit("\n".join(f"\nFAILED {why}" for why in failed) or "FAILED: there are no notebooks")


if __name__ == "__main__":
    main()
