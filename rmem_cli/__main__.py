"""`rmem`, and `python -m rmem_cli`: Ctrl-C is handled before anything else is imported."""

from rmem_cli.interrupts import handle_interrupts


def main() -> None:
    """Run the command line."""
    handle_interrupts()
    from rmem_cli.app import main as run

    run()


if __name__ == "__main__":
    main()
