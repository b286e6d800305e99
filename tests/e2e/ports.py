"""Free ports on loopback, not handed out again before many others were."""

import collections
import random
import socket

# Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes one in between.
_FIRST, _LAST = 12000, 32000
# A port rests while so many others were handed out: longer than any test runs.
_REST = 4000
_taken: collections.deque[int] = collections.deque(maxlen=_REST)


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def free(count: int = 1) -> int:
    """Returns the first of `count` free ports in a row, for TCP and UDP; it is even."""
    for _ in range(5000):
        first = random.randrange(_FIRST, _LAST - count) & ~1
        block = range(first, first + count)
        if not set(block).intersection(_taken) and all(map(_is_free, block)):
            _taken.extend(block)
            return first
    raise RuntimeError("no free ports on loopback")


def is_bound(port: int, kind: str = "udp") -> bool:
    """Whether a program holds the port. Only looks: a probe by bind() would get in its way."""
    with open(f"/proc/net/{kind}") as table:
        return any(line.split()[1].endswith(f":{port:04X}") for line in list(table)[1:])
