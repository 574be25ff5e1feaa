"""`python -m rmem_cli` is `rmem`."""

from rmem_cli.app import main

if __name__ == "__main__":
    main()
