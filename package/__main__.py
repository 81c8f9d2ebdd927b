"""`python -m edgeproof` is the command `edgeproof`."""

from .export.cli import main

main()
