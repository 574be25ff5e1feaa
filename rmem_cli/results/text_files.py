"""Reading the text files among the results, where every mistake has a file, a line and a cure."""

from pathlib import Path

from rmem_cli.errors import UsageError
from rmem_cli.files import encoding_of

BYTE_ORDER_MARK = "\ufeff"


def read_text(path: Path, cure: str) -> str | None:
    """The text of a file; None if there is none.

    Args:
        path: The file.
        cure: What helps against damage, as the end of a sentence.

    Raises:
        UsageError: It cannot be read, or is not text in UTF-8.
    """
    try:
        content = path.read_bytes()
        return content.decode(encoding_of(content))
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise UsageError(f"{path.parent} is not a folder; name one for results in RMEM_RESULTS") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise damaged_line(path, line, "this is not text in UTF-8, as results are", cure) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}); make it readable") from error


def damaged_line(path: Path, line: int, what: str, cure: str) -> UsageError:
    """The error of a file that is not what rmem wrote."""
    return UsageError(f"{path}:{line}: {what}; {cure}")
