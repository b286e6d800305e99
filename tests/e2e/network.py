"""A network of the test's own: loopback, what the test makes of it, and nobody else on it."""

import ctypes
import os
import subprocess
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def own():
    """Moves this thread, and every program and thread it starts from now on, into a new network."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _checked(_libc.unshare(_CLONE_NEWNET))
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            _checked(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def lose(percent: int, port: int | None = None) -> None:
    """Drops this share of all UDP from now on, or of what comes from or goes to `port`. The kernels of many test machines have no netem."""
    which = f"th sport {port}", f"th dport {port}"
    lines = "\n".join(f"meta l4proto udp {w} numgen random mod 100 < {percent} drop" for w in (which if port else [""]))
    rules = f"""
        table inet e2e {{
            chain input {{
                type filter hook input priority 0;
                {lines}
            }}
        }}
    """
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def separate(ports: list[int], one: str = "127.0.0.1") -> None:
    """From now on no UDP passes between `one` and itself where one of these ports takes part."""
    rules = f"""
        table inet apart {{
            chain input {{
                type filter hook input priority 0;
                ip saddr {one} ip daddr {one} udp sport {{ {", ".join(map(str, ports))} }} drop
                ip saddr {one} ip daddr {one} udp dport {{ {", ".join(map(str, ports))} }} drop
            }}
        }}
    """
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def plug_in(address: str) -> None:
    """Gives the machine a network card with this address."""
    subprocess.run(["ip", "link", "add", "card", "type", "veth", "peer", "name", "far"], check=True)
    for name in ("card", "far"):
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{address}/24", "dev", "card"], check=True)


def move(old: str, new: str) -> None:
    """The card gets another address."""
    # In this order: what was added second would go with the first.
    subprocess.run(["ip", "address", "del", f"{old}/24", "dev", "card"], check=True)
    subprocess.run(["ip", "address", "add", f"{new}/24", "dev", "card"], check=True)
