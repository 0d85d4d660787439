"""Fetching by address: public hosts only, the address checked is the one connected to, limits, and a cache."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mmreason.catalogue.download import Downloads, is_address, is_public


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"]))  # type: ignore[attr-defined]
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_response(404 if self.path == "/gone" else 200)
        self.end_headers()
        try:
            if self.path == "/slow":
                for _ in range(50):
                    self.wfile.write(b"x")
                    threading.Event().wait(0.1)
            self.wfile.write(b"0123456789" * (1000 if self.path == "/long.jpg" else 1))
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_fetched_once_with_limits(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    base = f"http://127.0.0.1:{server.server_port}"
    fetch = Downloads(tmp_path, max_bytes=5000, seconds=1.0, allowed=lambda ip: True)
    names = [f"{base}/{name}" for name in ("a.JPG?x=1", "gone", "long.jpg", "slow", f"to/{base}/a.JPG?x=1")]
    loop = f"{base}/to//to//to//to//to//to//x"
    found = fetch.get_all([*names, names[0], loop])
    path = found.pop(names[0])
    assert (
        path.startswith("downloads/")
        and path.endswith(".jpg")
        and (tmp_path / path).read_bytes() == b"0123456789"
    )
    assert found.pop(names[4]).startswith("downloads/")
    assert found == {
        names[1]: "download answered 404",
        names[2]: "larger than 0 MB",
        names[3]: "download timed out",
        loop: "too many redirects",
    }
    assert not list(tmp_path.rglob(".tmp-*"))
    asked = len(server.asked)  # type: ignore[attr-defined]
    assert fetch.get_all([names[0]]) == {names[0]: path} and len(server.asked) == asked  # type: ignore[attr-defined]


def test_inner_addresses_are_refused_also_after_a_redirect(
    tmp_path: Path, server: ThreadingHTTPServer
) -> None:
    base = f"http://localhost:{server.server_port}"
    assert Downloads(tmp_path).get_all([f"{base}/a.jpg"]) == {f"{base}/a.jpg": "address is not public"}
    assert not server.asked  # type: ignore[attr-defined]
    fetch = Downloads(tmp_path, allowed=lambda ip: ip == "127.0.0.1")
    for target, problem in (
        ("http://169.254.169.254/latest", "address is not public"),
        ("http://0.0.0.0/x", "address is not public"),
        ("file:///etc/passwd", "redirect leaves http"),
        ("ftp://127.0.0.1/x", "redirect leaves http"),
    ):
        address = f"http://127.0.0.1:{server.server_port}/to/{target}"
        assert fetch.get_all([address]) == {address: problem}


def test_a_name_that_changes_its_address_is_connected_where_it_was_checked(
    tmp_path: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = socket.getaddrinfo, iter(["127.0.0.1"])

    def rebinding(host: str, port: int, *args: object, **names: object) -> list:
        if host == "shop.example":  # the second look-up would lead elsewhere: there must be none
            host = next(answers)
        return real(host, port, *args, **names)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    address = f"http://shop.example:{server.server_port}/a.jpg"
    found = Downloads(tmp_path, allowed=lambda ip: ip == "127.0.0.1").get_all([address])
    assert found[address].startswith("downloads/")
    assert server.asked == [("/a.jpg", f"shop.example:{server.server_port}")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::"),
        *("fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:8.8.8.8", "64:ff9b::7f00:1"),
        *("2002:7f00:1::", "2001::1", "::7f00:1", "198.18.0.1", "192.0.2.1"),
    ],
)
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_what_is_public() -> None:
    assert is_public("8.8.8.8") and is_public("2606:4700:4700::1111")
    assert is_address("HTTPS://x/a.jpg") and not is_address("http.jpg") and not is_address("ftp://x/a.jpg")
