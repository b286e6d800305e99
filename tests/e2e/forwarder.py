"""A network that holds each packet up for another while: the kernels of many test machines have no netem.

It stands where the gateway says that its media is, and sends on to where it is; each peer has a socket of its own on the
far side. As a program: `forwarder.py HERE THERE FAR MILLISECONDS PORT…`.
"""

import asyncio
import random
import re
import sys
from pathlib import Path

from process import Process

HERE, THERE, FAR = "127.0.0.2", "127.0.0.1", "127.0.0.3"


class Forwarder(Process):
    """Delays what goes to and comes from the UDP `ports` of 127.0.0.1 by up to `milliseconds`, each way, each packet on its own."""

    def __init__(self, folder: Path, ports: list[int], milliseconds: int):
        super().__init__("forwarder", folder)
        self.launch([sys.executable, __file__, HERE, THERE, FAR, milliseconds, *ports])
        self.logged("^ready$")

    def packets(self) -> int:
        """How many it has forwarded; ends it."""
        self.stop()
        return int(re.search(r"^(\d+) packets$", self.log, re.M)[1])


class _Leg(asyncio.DatagramProtocol):
    def __init__(self, take):
        self.take = take

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender) -> None:
        self.take(data, sender)


async def _forward(here: str, there: str, far: str, most_s: float, ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    count = 0

    def later(leg: _Leg, data: bytes, to) -> None:
        nonlocal count
        count += 1
        loop.call_later(random.uniform(0, most_s), leg.transport.sendto, data, to)

    async def serve(port: int) -> None:
        peers: dict = {}

        async def open_peer(peer):
            _, leg = await loop.create_datagram_endpoint(
                lambda: _Leg(lambda data, _: later(near, data, peer)), local_addr=(far, 0)
            )
            return leg

        def take(data: bytes, peer) -> None:
            known = peers.get(peer)
            if known is None:
                known = peers[peer] = asyncio.ensure_future(open_peer(peer))
            known.add_done_callback(lambda task: later(task.result(), data, (there, port)))

        _, near = await loop.create_datagram_endpoint(lambda: _Leg(take), local_addr=(here, port))

    for port in ports:
        await serve(port)
    stopped = asyncio.Event()
    loop.add_signal_handler(15, stopped.set)
    print("ready", flush=True)
    await stopped.wait()
    print(f"{count} packets", flush=True)


if __name__ == "__main__":
    asyncio.run(_forward(*sys.argv[1:4], int(sys.argv[4]) / 1000, [int(port) for port in sys.argv[5:]]))
