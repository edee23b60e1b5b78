"""The dashboard: one file, which names what it runs by hash, so that a browser runs nothing else in it."""

import base64
import hashlib
import re
from importlib.resources import files
from types import MappingProxyType

__all__ = ["HEADERS", "page"]

_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def page() -> tuple[bytes, dict[str, str]]:
    """Return the page and the headers to serve it with."""
    text = files("websocket_utils.door").joinpath("_page.html").read_text("utf-8")
    hashes = {tag: base64.b64encode(hashlib.sha256(inner.encode()).digest()) for tag, inner in _INLINE.findall(text)}
    policy = (
        f"default-src 'none'; style-src 'sha256-{hashes['style'].decode()}'; "
        f"script-src 'sha256-{hashes['script'].decode()}'; connect-src 'self'; img-src data:; "
        # A frame around it could make its reader type the key somewhere else.
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), {"Content-Security-Policy": policy, **HEADERS}


HEADERS = MappingProxyType(
    {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
)
