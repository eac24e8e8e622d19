"The command line: `python -m eod_exit_ppo` is `eod-exit-ppo`."
from .cli import app

if __name__ == "__main__":
    app(prog_name="eod-exit-ppo")
