"""`python -m adasparse_cli` is the `adasparse` command."""

from adasparse_cli.app import main

if __name__ == "__main__":
    main()
