"""Text that may be shown: without secrets, and on one line. This module imports nothing of ours."""

import re

__all__ = ["on_one_line", "without_credentials"]

_SCHEME_AND_SLASHES = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:(?!\d))?/*")
_HOST_AND_PORT = re.compile(r"[^:@\[\]]*(:\d*)?|\[[^\]@]*\](:\d*)?")


def without_credentials(url: str) -> str:
    """Return `url` without its user, password and query, for attributes, logs and messages.

    Exchanges take tokens in the query, under any name, so `?...` is all that is shown of it (and `#...` of a fragment,
    which makes a URL invalid). Works on broken URLs too,
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
    return url[:start] + (f"{rest[: hidden.end()]}..." if hidden else rest)


def on_one_line(text: str) -> str:
    """Return `text` with all that is not printable escaped: a peer's words must not look like a log's next line."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
