"""From the bytes of a file to its text."""

import re
from pathlib import Path
from typing import Literal

from studio.core.reasons import Failure

Encoding = Literal[
    "auto", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030", "big5", "shift_jis", "euc_kr",
    "cp1252", "cp1251", "iso8859-2",
]  # fmt: skip
_BEGINNING = 1 << 18  # bytes that tell one kind of file from another with the same ending
_LAST_CHARACTER = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,3}\Z")  # in UTF-8, whole or torn
_COUNTED_BYTES = 200_000  # bytes in which accents and hanzi are counted


def decode(path: Path, encoding: str = "auto") -> tuple[str, str]:
    """Return a file's text and its encoding: by byte order mark, else UTF-8, UTF-16, GB 18030 or Windows-1252.

    Raises Failure "data-parse" when the characters don't fit, or when the file is no text at all.
    """
    data = path.read_bytes()
    if encoding == "auto":
        encoding = _find_encoding(data, path)
    try:
        return data.decode(encoding).replace("\0", ""), encoding
    except UnicodeDecodeError as error:
        message = f"Its characters are not written as {encoding}. Choose another encoding, or save it as UTF-8."
        raise Failure("data-parse", "data.train", path=str(path), format="text", message=message) from error


def _find_encoding(data: bytes, path: Path) -> str:
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return name
    start = data[:1000]
    for name, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if zeros.count(0) > len(start) // 4 and start.count(0) == zeros.count(0):
            return name
    control = sum(byte < 32 and byte not in b"\t\n\r\f\x1a\x1b" for byte in data[:8000])
    if control > len(data[:8000]) // 50:
        message = "It is no text file: it has many bytes such as NUL. If it is a spreadsheet, save it as CSV first."
        raise Failure("data-parse", "data.train", path=str(path), format="text", message=message)
    for name in ("utf-8", "gb18030"):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        if name == "utf-8" or _is_chinese(data):
            return name
    return "cp1252" if all(byte not in data for byte in b"\x81\x8d\x8f\x90\x9d") else "gb18030"


def _is_chinese(data: bytes) -> bool:
    """Whether bytes that GB 18030 can read are Chinese: Western accents pair with ASCII letters, hanzi seldom do."""
    seconds = re.findall(rb"[\x81-\xfe]([\x30-\xfe])", data[:_COUNTED_BYTES])
    return sum(second[0] >= 0x80 for second in seconds) > 0.8 * len(seconds)


def beginning(path: str) -> str:
    """Return the first characters of a file; "" where there is no file, or no text in it."""
    try:
        with open(path, "rb") as file:
            data = file.read(_BEGINNING)
        if len(data) == _BEGINNING:
            data = _LAST_CHARACTER.sub(b"", data)
        return data.decode(_find_encoding(data, Path(path)), "ignore")
    except (OSError, Failure):
        return ""


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, whichever system ended them; only line ends cut, not other blanks."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
