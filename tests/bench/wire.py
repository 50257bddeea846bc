"""A light HTTP client: its own cost must not be what is measured."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from apps.backoffice.management.commands import up
from tests.bench.timing import rate
from tests.prove.ground import superuser

HOST = "127.0.0.1"
OK = b"HTTP/1.1 200"


@dataclass(frozen=True, slots=True)
class Load:
    """What one client sends: its key, the bodies of its requests, and a header for each."""

    key: str
    bodies: Sequence[bytes]
    headers: Sequence[str] = ()


@contextlib.contextmanager
def serving(application: str) -> Iterator[int]:
    """Serve an application as `up` does and yield the port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    with superuser() as connection:
        environment = {**os.environ, "BENCH_SUPERUSER": connection.info.dsn, "LOG_LEVEL": "info"}
    command = [*up.web_server(HOST, port)[:-1], application]
    server = subprocess.Popen(  # its log would be the machine's load
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not up.is_healthy(HOST, port):
            assert server.poll() is None, "the server has ended"
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()


def burst(port: int, path: str, loads: Sequence[Load]) -> float:
    """Return how many requests a second are answered when every client sends its own at once."""
    gate = threading.Barrier(len(loads) + 1)
    clients = [threading.Thread(target=_client, args=(port, path, one, gate)) for one in loads]
    for client in clients:
        client.start()
    gate.wait()
    return rate(sum(len(one.bodies) for one in loads), partial(_join, clients))


def latencies(port: int, path: str, loads: Sequence[Load]) -> tuple[float, float]:
    """Return the median and the 99th percentile of how long answers take, in milliseconds, when
    every client sends its own at once.
    """
    gate, found = threading.Barrier(len(loads) + 1), list[float]()
    clients = [
        threading.Thread(target=_client, args=(port, path, one, gate, found)) for one in loads
    ]
    for client in clients:
        client.start()
    gate.wait()
    _join(clients)
    cuts = statistics.quantiles(found, n=100)
    return cuts[49], cuts[98]


def _join(clients: Sequence[threading.Thread]) -> None:
    for client in clients:
        client.join()


def _client(
    port: int,
    path: str,
    load: Load,
    gate: threading.Barrier,
    took: list[float] | None = None,
) -> None:
    headers = load.headers or [f"Authorization: Bearer {load.key}"] * len(load.bodies)
    sent_with = zip(headers, load.bodies, strict=True)
    requests = [_request(path, header, body) for header, body in sent_with]
    with socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        gate.wait()
        for request in requests:
            sent = time.perf_counter()
            connection.sendall(request)
            _read_answer(connection)
            if took is not None:
                took.append((time.perf_counter() - sent) * 1000)


def _request(path: str, header: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\n{header}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _read_answer(connection: socket.socket) -> None:
    answer = connection.recv(262_144)
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(262_144)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(OK):
        raise AssertionError(answer[:500])
    named = head.lower().partition(b"content-length:")[2]
    missing = int(named.partition(b"\r\n")[0]) - len(body)
    while missing > 0:
        missing -= len(connection.recv(262_144))
