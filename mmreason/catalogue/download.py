"""Fetching pictures and videos by address, from public hosts only, with limits, into a cache."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import urllib3

from mmreason.files import atomic_write
from mmreason.schema import DataError

FOLDER = "downloads"
_REDIRECTS = 5
_CHUNK = 1 << 16
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


class DownloadError(DataError):
    """An address that could not be fetched; the message is the cause alone, so that causes can be counted."""


def is_address(name: str) -> bool:
    """Whether a media name is a URL, not a path."""
    return name[:8].lower().startswith(("http://", "https://"))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet.

    Private, loopback, link-local, multicast and reserved ones are not, nor are IPv6 addresses that carry an
    IPv4 one inside (mapped, 6to4, Teredo, NAT64), which could lead to one of those.

    Example:
        >>> is_public("169.254.169.254"), is_public("::ffff:127.0.0.1"), is_public("8.8.8.8")
        (False, False, True)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        carriers = ("::/96", "::ffff:0:0/96", "2001::/32", "2002::/16", "64:ff9b::/96", "64:ff9b:1::/48")
        if any(ip in ipaddress.ip_network(network) for network in carriers):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


@dataclass(slots=True)
class Downloads:
    """A folder of fetched files, each named by the hash of its address: what is there is not fetched again.

    Attributes:
        root: Media root; files go to ``<root>/downloads``.
        max_bytes: A larger file is given up.
        seconds: A file that takes longer in all is given up.
        workers: Fetches at a time.
        allowed: Tells which IP addresses may be connected to.

    Example:
        >>> Downloads(Path("shop")).get_all(["http://localhost/a.jpg"])
        {'http://localhost/a.jpg': 'address is not public'}
    """

    root: Path
    max_bytes: int = 64 << 20
    seconds: float = 60.0
    workers: int = 8
    allowed: Callable[[str], bool] = is_public

    def get_all(self, addresses: Iterable[str]) -> dict[str, str]:
        """Fetch several at a time.

        Returns:
            Address → path relative to :attr:`root`, which begins with ``downloads/``, or what went wrong.
        """
        unique = list(dict.fromkeys(addresses))
        with ThreadPoolExecutor(self.workers) as pool:
            return dict(zip(unique, pool.map(self._get, unique), strict=True))

    def _get(self, address: str) -> str:
        name = f"{FOLDER}/{_name(address)}"
        if (self.root / name).is_file():
            return name
        try:
            self._fetch(address, self.root / name)
        except DownloadError as error:
            return str(error)
        return name

    def _fetch(self, address: str, path: Path) -> None:
        deadline = time.monotonic() + self.seconds
        for _ in range(_REDIRECTS + 1):
            try:
                response = self._open(address, deadline)
                target = response.headers.get("Location") if 300 <= response.status < 400 else None
                if target is None:
                    self._save(response, path, deadline)
                    return
                response.close()
            except DataError:  # ours, and a full disk's
                raise
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                timed_out = isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError)
                raise DownloadError("download timed out" if timed_out else "download failed") from error
            address = urljoin(address, target)
        raise DownloadError("too many redirects")

    def _open(self, address: str, deadline: float) -> urllib3.BaseHTTPResponse:
        """Connect to the very address that was checked, so that a second look-up cannot lead elsewhere."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DownloadError("redirect leaves http" if parts.scheme else "not an address")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        ip = self._resolve(parts.hostname, port)
        timeout = urllib3.Timeout(total=_left(deadline))
        secure = {"server_hostname": parts.hostname, "assert_hostname": parts.hostname}
        pool: urllib3.HTTPConnectionPool = (
            urllib3.HTTPSConnectionPool(ip, port, timeout=timeout, **secure)  # type: ignore[arg-type]
            if parts.scheme == "https"
            else urllib3.HTTPConnectionPool(ip, port, timeout=timeout)
        )
        headers = {
            "Host": parts.netloc.rpartition("@")[2],
            "Accept-Encoding": "identity",
            "User-Agent": "mmreason",
        }
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return pool.urlopen(
            "GET",
            target,
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            assert_same_host=False,
        )

    def _resolve(self, host: str, port: int) -> str:
        """One of the host's IP addresses, all of which must be allowed."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(self.allowed(ip) for ip in addresses):
            raise DownloadError("address is not public")
        return addresses[0]

    def _save(self, response: urllib3.BaseHTTPResponse, path: Path, deadline: float) -> None:
        if response.status != 200:
            raise DownloadError(f"download answered {response.status}")
        with atomic_write(path) as file:
            size = 0
            while chunk := response.read1(
                _CHUNK, decode_content=False
            ):  # read1: a dripping host cannot hold it
                size += len(chunk)
                if size > self.max_bytes:
                    raise DownloadError(f"larger than {self.max_bytes >> 20} MB")
                _left(deadline)
                file.write(chunk)
        response.close()


def _left(deadline: float) -> float:
    """Seconds left, of which there must be some."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise DownloadError("download timed out")
    return left


def _name(address: str) -> str:
    suffix = Path(urlsplit(address).path).suffix.lower()
    digest = hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()
    return f"{digest[:2]}/{digest}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
