"""`python -m cvl` is the same as the `cvl` command."""

from cvl.cli import main

if __name__ == "__main__":
    main()
