"""`python -m vrft_core.cli`: the command line where the script `vrft` is not on the path."""

from vrft_core.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
