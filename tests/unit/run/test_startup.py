"""What a command does before it begins: it loads what it needs, and says how long that took."""

import re
import subprocess
import sys
import time

from jaxalign.run.startup import StartUp


def test_train_loads_nothing_that_a_run_does_not_begin_with():
    heavy = {"cma", "matplotlib", "pandas", "scipy", "tensorboardX", "torch", "transformers"}
    program = f"import sys, jaxalign.train; print(*sorted({heavy} & set(sys.modules)))"
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100
    )
    assert told.stdout.split() == []


def test_parts_add_up_to_the_whole():
    begun = time.perf_counter()
    startup = StartUp()
    time.sleep(0.02)
    startup.end("one")
    time.sleep(0.01)
    startup.end("two")
    assert list(startup.seconds) == ["one", "two"]
    assert startup.seconds["one"] >= 0.02 and startup.seconds["two"] >= 0.01
    assert sum(startup.seconds.values()) <= time.perf_counter() - begun
    assert re.fullmatch(r"0\.\d s: one 0\.\d, two 0\.\d", str(startup))
    assert list(StartUp(of_command=True).seconds) == ["imports"]
