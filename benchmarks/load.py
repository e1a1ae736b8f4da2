#!/usr/bin/env python3
"""What `import ipy_codeinterp` and `%load_ext` add to bare IPython, and what they must not import.

Medians of interleaved rounds, each in a fresh Python. The last line is the time added, in seconds; exit 1 when it is
over the bar or a heavy package was imported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

BAR = 0.15  # seconds
HEAVY = ("numpy", "matplotlib", "aiohttp", "ipywidgets")

PROGRAM = """
import json, sys, time
started = time.perf_counter()
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
bare = time.perf_counter() - started
started = time.perf_counter()
if "load" in sys.argv:
    import ipy_codeinterp
    shell.run_line_magic("load_ext", "ipy_codeinterp")
loaded = time.perf_counter() - started
print(json.dumps({"bare": bare, "loaded": loaded, "heavy": [n for n in HEAVY if n in sys.modules]}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often each is measured (default: 9)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as home:
        measure("load", home)  # compiles what is not compiled yet
        pairs = [(measure("bare", home), measure("load", home)) for _ in range(rounds)]
    bare = statistics.median(first["bare"] for first, _ in pairs)
    added = statistics.median(second["loaded"] for _, second in pairs)
    heavy = sorted({name for _, second in pairs for name in second["heavy"]})
    print(f"bare IPython         {bare:.3f} s")
    print(f"import and %load_ext {added:.3f} s more (bar {BAR} s), {added / bare:.2f} of bare IPython")
    print(f"heavy imports        {', '.join(heavy) or 'none'}")
    print(f"{added:.3f}")
    return int(added > BAR or bool(heavy))


def measure(what: str, home: str) -> dict:
    environment = {
        **os.environ,
        "HOME": home,
        "IPYTHONDIR": f"{home}/.ipython",
        "IPY_CODEINTERP_CACHE_DIR": f"{home}/c",
    }
    program = PROGRAM.replace("HEAVY", repr(HEAVY), 1)
    run = subprocess.run(
        [sys.executable, "-c", program, what], env=environment, capture_output=True, text=True, check=True, cwd=home
    )
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
