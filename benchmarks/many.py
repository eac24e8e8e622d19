"""Many fits on a Dask cluster of two processes: speed-up, bytes sent, and a worker that is killed on the way.

A sweep (8 settings x 8 seeds on one fold) and a walk forward (one setting, 8 seeds x 8 folds) are run in this process,
then on the cluster, then on the cluster again with one of its processes killed once a third of the fits are there. All
give the same decisions, training histories and gains to the last bit, or the script fails. Each fit has one thread.

Bytes are counted where they leave: every write to a connection of the cluster, by the client and the scheduler (both in
this process) and by the workers, with headers, heartbeats and results. What is sent by way of the scheduler counts
twice, as it travels twice. Of the run with a killed worker nothing is told: its count has died with it.

    python benchmarks/many.py            128 fits, three times; recorded in RESULTS.md and many.csv
    python benchmarks/many.py --quick    a few tiny fits, printed and not recorded
"""
from __future__ import annotations

import argparse
import os
import pickle
import signal
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
from distributed import Client, LocalCluster
from distributed.comm.tcp import TCP
from joblib import parallel_config
from results import table, write_section

from eod_exit_ppo import IntradayPanel, PPOConfig, WalkForward, walk_forward
from eod_exit_ppo.fit import FitAgent

WORKERS, FILE = 2, Path(__file__).with_name("many.csv")


# ---- what is run ----
def problems(quick: bool, epochs: int) -> dict[str, dict]:
    "Name -> arguments of walk_forward."
    train, test, folds, N, seeds = (6, 3, 2, 20, 2) if quick else (60, 8, 8, 200, 8)
    panel, base = IntradayPanel.synthetic(D=train + 1 + folds * test, N=N), PPOConfig(epochs=epochs)
    settings = [replace(base, lr=lr, hidden=width) for lr in (0.003, 0.01, 0.02, 0.03) for width in (32, 64)][:folds]
    sweep = {f"lr {c.lr:g}, width {c.hidden}": FitAgent(c) for c in settings}
    same = dict(splitter=WalkForward(train, test), seeds=seeds, name=None, progress=False)
    return {"sweep": dict(panel=panel[:train + 1 + test], policies=sweep, **same),
            "walk forward": dict(panel=panel, policies={"learned": FitAgent(base)}, **same)}


def content(result) -> list:
    "All of a result, to be compared."
    return [{k: v.tobytes() for k, v in result.exit_steps.items()}, result.history.to_csv(), result.learned.to_csv()]


# ---- the cluster ----
def prepare() -> int:
    "Import what a fit needs and count what this process writes to connections from now on: the process's number."
    import eod_exit_ppo.walk  # noqa: F401
    if not hasattr(TCP, "sent"):
        write, TCP.sent = TCP.write, 0

        async def counted(self, *args, **options):
            TCP.sent += (written := await write(self, *args, **options))
            return written

        TCP.write = counted
    return os.getpid()


def sent(client) -> int:
    "Bytes written so far by this process and the workers."
    return TCP.sent + sum(client.run(lambda: TCP.sent).values())


def kill(process: int, folder: Path, after: int, done: list) -> None:
    "Kill a process once so many fits are there; how many there were is added to the list."
    while len(list(folder.glob("*.fit"))) < after: time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    done.append(len(list(folder.glob("*.fit"))))


def ready(client) -> list[int]:
    "The processes of the workers, once all are there."
    client.wait_for_workers(WORKERS)
    return list(client.run(prepare).values())


# ---- one problem ----
def run(problem: dict, jobs: int, kill_after: int = 0, process: int = 0) -> dict:
    "Seconds, result, number of fits, and how many were there when a process was killed."
    with tempfile.TemporaryDirectory() as folder:
        done, folder = [], Path(folder)
        killer = threading.Thread(target=kill, args=(process, folder, kill_after, done))
        if kill_after: killer.start()
        start = time.perf_counter()
        result = walk_forward(**problem, jobs=jobs, folder=folder)
        seconds = time.perf_counter() - start
        if kill_after: killer.join()
        return dict(seconds=seconds, content=content(result), fits=len(list(folder.glob("*.fit"))),
                    killed=f", one killed after {done[0]} fits" if done else "")


def measure(name: str, problem: dict, client, killing: bool) -> list[dict]:
    "One row per way to run it."
    every = [run(problem, 1)]
    ready(client)
    with parallel_config("dask"):
        before = sent(client)
        every.append(run(problem, -1))
        total = sent(client) - before
        if killing: every.append(run(problem, -1, max(1, every[0]["fits"] // 3), ready(client)[0]))
    rows = []
    for k, found in enumerate(every):
        assert all(found[x] == every[0][x] for x in ("content", "fits")), f"{name}: not the same in way {k}"
        rows.append({"what": name, "how": f"{WORKERS} workers{found['killed']}" if k else "one process",
                     "fits": found["fits"], "seconds": round(found["seconds"], 1),
                     "speed-up": f"{every[0]['seconds'] / found['seconds']:.2f}",
                     "panel (kB)": round(len(pickle.dumps(problem["panel"])) / 1e3) if k == 1 else "",
                     "sent (kB)": round(total / 1e3) if k == 1 else "",
                     "per fit (kB)": f"{total / found['fits'] / 1e3:.1f}" if k == 1 else ""})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing recorded")
    parser.add_argument("--epochs", type=int, default=30, help="of each fit; 1 with --quick")
    args = parser.parse_args()
    quick, epochs = args.quick, 1 if args.quick else args.epochs
    load, start, rows = os.getloadavg()[0], time.perf_counter(), []
    prepare()
    with (LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None,
                       silence_logs=50) as cluster, Client(cluster) as client):
        ready(client)
        started = time.perf_counter() - start
        for name, problem in problems(quick, epochs).items():
            rows += measure(name, problem, client, not quick or name != "sweep")
    text = (f"A sweep of settings and seeds and a walk forward, {epochs} epochs a fit, in one process and on a Dask "
            f"cluster of {WORKERS} processes with one thread each, all on this machine. Decisions, histories and gains "
            f"are the same to the last bit, also where a worker was killed on the way: Dask starts another, and the "
            f"fit that was lost is begun again. The panel is sent once per worker and not with each fit. Sent: all "
            f"that client, scheduler and workers write to their connections, what goes through the scheduler counted "
            f"twice. Starting the workers, not counted, takes {started:.1f} s. The machine's load before the start: "
            f"{load:.1f}."
            f"\n\n{table(rows)}")
    if quick: return print(text)
    command = f"python benchmarks/many.py{f' --epochs {epochs}' * (epochs != parser.get_default('epochs'))}"
    print(write_section("Many fits", command, text, 1, ("distributed", "joblib", "torch")))
    pd.DataFrame(rows).to_csv(FILE, index=False)


if __name__ == "__main__":
    main()
