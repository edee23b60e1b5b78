"""The dashboard's file and headers, as far as they can be judged without a browser."""

import base64
import hashlib
import re

from websocket_utils.door._page import page


def test_policy_allows_the_page_s_own_script_and_style_by_hash_and_nothing_else() -> None:
    body, headers = page()
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    for tag in ("script", "style"):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert policy.pop(f"{tag}-src") == f"'sha256-{digest}'"
    assert policy == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_page_may_not_be_framed_guessed_at_kept_or_told_of() -> None:
    _, headers = page()
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Type"] == "text/html; charset=utf-8"


def test_page_names_no_other_host_and_makes_no_markup_of_text() -> None:
    text = page()[0].decode()
    assert re.findall(r"(?:https?:)?//[\w.]+", re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)) == [
        "http://www.w3.org"
    ]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc", text)
    # The policy would block these, and the page would be broken.
    assert not re.search(r"<[^>]+ (?:style|on\w+)=", text)
