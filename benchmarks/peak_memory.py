"""Run a command in silence, and print its largest resident memory in kB.

    python benchmarks/peak_memory.py COMMAND [ARGUMENT]...

The system counts from what the forking process holds: a large one that starts the command itself would read
its own size. This one is small.
"""

import resource
import subprocess
import sys

status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
