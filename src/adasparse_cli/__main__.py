"""`python -m adasparse_cli` is the `adasparse` command."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        # -m looks for modules in the current folder first, which the command never does: it may hold anyone's files
        del sys.path[0]
    from adasparse_cli.app import main

    main()
