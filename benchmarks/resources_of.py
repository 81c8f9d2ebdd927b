"""Run a command in silence, and print its largest resident memory in kB, its CPU time and its time in s.

    python benchmarks/resources_of.py COMMAND [ARGUMENT]...

The system counts from what the forking process holds: a large one that starts the command itself would read
its own size. This one is small. A command that takes ten minutes of CPU time is ended: the slowest tool that
comes to an end takes six.
"""

import resource
import signal
import subprocess
import sys
import time

MOST_SECONDS = 600

# The command inherits the limit, and its time is counted apart from this process's.
resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS + 1))
start = time.monotonic()
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
if status == -signal.SIGXCPU:
    sys.exit(f"ended after {MOST_SECONDS} s of CPU time")
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime, time.monotonic() - start)
sys.exit(status)
