"""Nothing reaches for the network: demonstration, training, walk-forward and report with the network cut off."""
import os
import shutil
import subprocess
import sys

import pytest

from eod_exit_ppo import IntradayPanel

# no network but this process's own loopback, over which a report talks to the kernel that runs its notebook
LOOPBACK = """import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
os.execvp(sys.argv[1], sys.argv[1:])"""
CUT = ["unshare", "--net", "--map-root-user", sys.executable, "-c", LOOPBACK]
able = shutil.which("unshare") and subprocess.run([*CUT, "true"], capture_output=True).returncode == 0


# every command in one process, after a look that it is cut off indeed
COMMANDS = """import socket, sys
try: socket.create_connection(("192.0.2.1", 80), timeout=3)
except OSError as error: assert "unreachable" in str(error), error
else: raise AssertionError("there is a network")
from eod_exit_ppo.cli import app
for line in sys.stdin:
    try: app(line.split(), prog_name="eod-exit-ppo")
    except SystemExit as done: assert not done.code, line"""


@pytest.mark.skipif(not able, reason="this system does not let a test cut its network off (unshare)")
def test_all_commands_without_a_network(tmp_path):
    IntradayPanel.synthetic(D=24, T=4, N=20).to_frame().to_parquet(tmp_path / "days.parquet")
    lines = ("demo --epochs 1", "train days.parquet --out run --epochs 2",
             "walk-forward days.parquet --out walk --train 10 --test 6 --seeds 1 --jobs 1 --epochs 2",
             "report walk --out walk.html")
    done = subprocess.run([*CUT, sys.executable, "-c", COMMANDS], input="\n".join(lines), cwd=tmp_path,
                          capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "exact optimum" in done.stdout and (tmp_path / "run" / "agent.pt").exists()
    assert (tmp_path / "walk.html").stat().st_size > 10_000
