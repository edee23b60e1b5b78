"""Text that may be shown: without secrets, and on one line. This module imports nothing of ours."""

import re

__all__ = ["on_one_line", "without_credentials"]

_SCHEME_AND_SLASHES = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:(?!\d))?/*")
_KEY = re.compile(r"[A-Za-z0-9_-]{20,}")
# Letters and digits in one piece, as names are not; with dashes in it, as UUIDs have them, it takes more of both.
_LEAST_DIGITS = 6
_LEAST_WITH_DASHES = 32
_HOST_AND_PORT = re.compile(r"[^:@\[\]]*(:\d*)?|\[[^\]@]*\](:\d*)?")


def without_credentials(url: str) -> str:
    """Return `url` without its user, password, query and keys in its path, for attributes, logs and messages.

    Exchanges take tokens in the query, under any name, so `?...` is all that is shown of it (and `#...` of a fragment,
    which makes a URL invalid). Of a piece of the path that looks like a key `...` is shown: 20 letters and digits in
    one, or 32 with dashes, some digits among them. A shorter secret looks like any path. Works on broken URLs too,
    where it rather removes too much than too little: a password with an unescaped `/` makes the URL invalid, and the
    error about it must not print the password.
    """
    prefix = _SCHEME_AND_SLASHES.match(url)
    start = prefix.end() if prefix else 0
    rest = url[start:]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = authority.rpartition("@")[2] + rest[len(authority) :]
    elif not _HOST_AND_PORT.fullmatch(authority):
        rest = rest.rpartition("@")[2]
    hidden = re.search(r"[?#]", rest)
    place, behind = (rest[: hidden.start()], f"{rest[hidden.start()]}...") if hidden else (rest, "")
    host, slash, path = place.partition("/")
    if slash:
        path = "/".join("..." if _looks_like_key(piece) else piece for piece in path.split("/"))
    return f"{url[:start]}{host}{slash}{path}{behind}"


def _looks_like_key(piece: str) -> bool:
    if not _KEY.fullmatch(piece):
        return False
    digits = sum(map(str.isdigit, piece))
    has_letters = any(map(str.isalpha, piece))
    has_dashes = "-" in piece or "_" in piece
    return (
        has_letters
        and digits >= (_LEAST_DIGITS if has_dashes else 1)
        and (not has_dashes or len(piece) >= _LEAST_WITH_DASHES)
    )


def on_one_line(text: str) -> str:
    """Return `text` with all that is not printable escaped: a peer's words must not look like a log's next line."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
