"""Ports, addresses, and what is said when a port is taken."""

import socket
from urllib.parse import urlsplit

import pytest

from motionstream.errors import UserError
from motionstream.serve.guard import host_known
from motionstream.serve.launch import addresses, is_local, listen, names_of


def test_a_port_in_use_is_named_and_another_suggested():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} on 127\.0\.0\.1 is in use: try --port \d+") as caught:
            listen("127.0.0.1", port)
        free = int(str(caught.value).rsplit(" ", 1)[1])
        listen("127.0.0.1", free).close()
    listen("127.0.0.1", port).close()


def test_hosts_that_are_not_here():
    for host in ("no such host", "192.0.2.1"):
        with pytest.raises(UserError, match=r"--host|cannot listen"):
            listen(host, 0)


def test_addresses_hold_the_token_and_say_who_can_reach_them():
    with listen("127.0.0.1", 0) as local, listen("0.0.0.0", 0) as everywhere:
        assert is_local(local)
        assert not is_local(everywhere)
        assert addresses(local, None) == [f"http://127.0.0.1:{local.getsockname()[1]}/"]
        here, there = addresses(everywhere, "a b")
        assert here == f"http://127.0.0.1:{everywhere.getsockname()[1]}/?token=a%20b"
        assert socket.gethostname() in there


@pytest.mark.parametrize("host", ["127.0.0.1", "127.2", "LocalHost"])
def test_the_server_answers_to_the_address_that_is_printed(host: str):
    with listen(host, 0) as bound:
        names = names_of(host, bound)
        port = bound.getsockname()[1]
        for url in (*addresses(bound, None), f"http://{host}:{port}/"):
            assert host_known(urlsplit(url).netloc, names), url
        assert not host_known(f"elsewhere.example:{port}", names)


def test_names_in_the_host_header():
    names = ("localhost", "127.0.0.1", "[::1]")
    assert all(host_known(host, names) for host in ("localhost", "LOCALHOST:80", "127.0.0.1:7860", "[::1]", "[::1]:80"))
    assert not any(host_known(host, names) for host in ("", "localhost.example", "127.0.0.1.example:80", "[::2]:80"))
    assert host_known("any.example", None)
