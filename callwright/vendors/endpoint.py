"""Server addresses: one root per vendor, whatever was pasted, and no key in clear over a public network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_SECURE = {"https": True, "wss": True, "http": False, "ws": False}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Root:
    """The root of a server that speaks HTTP and websockets at one address."""

    secure: bool
    host: str
    port: int | None
    prefix: str = ""
    """A path in front of the vendor's own paths (`/proxy/deepgram`), without a slash at its end."""

    @property
    def http(self) -> str:
        """As an `http(s)://` URL without a slash at its end."""
        return f"http{'s' if self.secure else ''}://{self.authority}{self.prefix}"

    @property
    def ws(self) -> str:
        """As a `ws(s)://` URL without a slash at its end."""
        return f"ws{'s' if self.secure else ''}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """Host and, if one was given, port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def effective_port(self) -> int:
        """The port that is really used: the given one, else the scheme's own."""
        return self.port if self.port is not None else (443 if self.secure else 80)

    @property
    def loopback(self) -> bool:
        """Whether nothing sent there leaves this machine."""
        address = _address(self.host)
        if address is not None:
            return address.is_loopback
        return self.host == "localhost" or self.host.endswith(".localhost")

    @property
    def private(self) -> bool:
        """Whether the host is on this machine or on a private network, as far as its name tells.

        A name without a dot (a container's, say) cannot be a public host; `.local` and `.internal` are
        reserved for private networks (RFC 6762, ICANN 2024).
        """
        address = _address(self.host)
        if address is not None:
            return address.is_private or address.is_link_local
        return self.loopback or "." not in self.host or self.host.endswith((".local", ".internal"))


def parse_root(text: str, *, endings: Sequence[str] = ()) -> Root:
    """Read a server's root; `endings` are the vendor's own paths, cut off when the user wrote them out.

    Raises ValueError saying what is wrong. The check is strict because Pipecat's Deepgram service answers an
    address it cannot use by talking to production instead.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not a URL ({error})") from None
    if parts.scheme not in _SECURE:
        raise ValueError("must begin with https://, http://, wss:// or ws://")
    host = parts.hostname or ""
    if not host or (_address(host) is None and not _HOST.fullmatch(host)):
        raise ValueError("has no valid host name")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a user name or password; keys have their own setting, api_key")
    if parts.query or parts.fragment:
        raise ValueError("must be a server's root, without '?' or '#'")
    path = parts.path.rstrip("/")
    for ending in sorted(endings, key=len, reverse=True):
        if path.endswith(ending):
            path = path[: -len(ending)]
            break
    return Root(secure=_SECURE[parts.scheme], host=host, port=port, prefix=path)


def parse_vendor_root(text: str, *, endings: Sequence[str] = ()) -> Root:
    """As `parse_root`, and refuse to send keys and callers' voices in clear beyond a private network."""
    root = parse_root(text, endings=endings)
    if not root.secure and not root.private:
        raise ValueError(
            f"would send keys and callers' words in clear to {root.host}; use https:// or wss:// "
            "(plain http:// and ws:// are for this machine and private networks)"
        )
    return root


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
