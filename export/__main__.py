"""`python -m edgeproof.export` is the command `edgeproof`."""

from .cli import main

main()
