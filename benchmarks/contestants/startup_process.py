"""New Python processes, timed from their start to their first line of output."""

import subprocess
import sys
import time


def prepare(code):
    """Returns a function that runs some Python code in new processes."""

    def run(steps):
        seconds = 0.0
        for _ in range(steps):
            command = [sys.executable, "-c", f"{code}\nprint('done', flush=True)"]
            start = time.perf_counter()
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                while process.stdout.readline() not in ("done\n", ""):
                    pass
                seconds += time.perf_counter() - start
            if process.returncode:
                raise RuntimeError(f"{code!r} ended with status {process.returncode}")
        return seconds

    return run
