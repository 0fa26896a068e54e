"""New processes of Python, from their start to their first line of output."""

import subprocess
import sys
import time


def prepare(code):
    """Runs a piece of Python."""

    def run(steps):
        seconds = 0.0
        for _ in range(steps):
            command = [sys.executable, "-c", f"{code}\nprint('done', flush=True)"]
            began = time.perf_counter()
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                while process.stdout.readline() not in ("done\n", ""):
                    pass
                seconds += time.perf_counter() - began
            if process.returncode:
                raise RuntimeError(f"{code!r} ended with status {process.returncode}")
        return seconds

    return run
