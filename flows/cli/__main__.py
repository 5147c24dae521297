"""`python -m flows.cli`, for a checkout whose command is not on the path."""

from flows.cli import main

main()
