"""`python -m ops` is `messenger`."""

from ops.cli import main

main()
