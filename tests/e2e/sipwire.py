"""SIP messages written and read by hand, over UDP, TCP and TLS: for what no SIP program would do."""

import asyncio
import random
import re
import ssl

import ports


class Message:
    """A request or response as it came."""

    def __init__(self, data: bytes):
        head, _, self.body = data.partition(b"\r\n\r\n")
        self.first, *lines = head.decode(errors="replace").split("\r\n")
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]

    def __getitem__(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def method(self) -> str:
        return "" if self.first.startswith("SIP/") else self.first.split(" ")[0]

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1]) if self.first.startswith("SIP/") else 0

    def answer(self, status: int, reason: str = "x", *more: str, body: str = "") -> bytes:
        """A response to this request."""
        lines = [f"SIP/2.0 {status} {reason}"]
        lines += [f"Via: {via}" for via in self.all("via")]
        to = self["to"]
        if status > 100 and ";tag=" not in to:
            to += ";tag=wire"
        lines += [f"From: {self['from']}", f"To: {to}", f"Call-ID: {self['call-id']}", f"CSeq: {self['cseq']}"]
        lines += [f"Record-Route: {route}" for route in self.all("record-route")]
        return written(lines + list(more), body)

    def __repr__(self) -> str:
        return self.first


def written(lines: list[str], body: str = "") -> bytes:
    body = body.replace("\n", "\r\n")
    if body:
        lines = [*lines, "Content-Type: application/sdp"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def sdp(port: int = 9, more: str = "") -> str:
    return (
        "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=audio {port} RTP/AVP 0\na=rtpmap:0 PCMU/8000\n{more}"
    )


def request(method: str, uri: str, via: str, *more: str, body: str = "", cseq: int = 1, call: str = "", to: str = "",
            branch: str = "", tag: str = "wire") -> bytes:
    """A request with what every one needs; `via` is such as `UDP 127.0.0.1:5060`."""
    call = call or f"c{random.randrange(1 << 40)}"
    branch = branch or f"z9hG4bK{random.randrange(1 << 40)}"
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/{via};branch={branch}",
        "Max-Forwards: 70",
        f"From: <sip:wire@127.0.0.1>;tag={tag}",
        f"To: {to or f'<{uri}>'}",
        f"Call-ID: {call}",
        f"CSeq: {cseq} {method}",
        *more,
    ]
    return written(lines, body)


def bye(invite: Message, via: str, tag: str = "wire") -> bytes:
    """The BYE of whom `invite` called and who answered with `Message.answer`."""
    lines = [
        f"BYE {invite['contact'].strip('<>')} SIP/2.0",
        f"Via: SIP/2.0/{via};branch=z9hG4bK{random.randrange(1 << 40)}",
        "Max-Forwards: 70",
        f"From: {invite['to']};tag={tag}",
        f"To: {invite['from']}",
        f"Call-ID: {invite['call-id']}",
        "CSeq: 1 BYE",
    ]
    return written(lines)


class Peer:
    """What came in, waited for; the base of all transports."""

    def __init__(self):
        self.seen: list[Message] = []
        self._news = asyncio.Event()

    def took(self, data: bytes) -> None:
        self.seen.append(Message(data))
        self._news.set()

    async def will_get(self, which, timeout: float = 20) -> Message:
        """Waits for the first message that has not been taken yet and that is a method, a status, or fits."""
        if isinstance(which, str):
            fits = lambda m: m.method == which  # noqa: E731
        elif isinstance(which, int):
            fits = lambda m: m.status == which  # noqa: E731
        else:
            fits = which

        async def found() -> Message:
            while True:
                for index, message in enumerate(self.seen):
                    if fits(message):
                        return self.seen.pop(index)
                self._news.clear()
                await self._news.wait()

        try:
            return await asyncio.wait_for(found(), timeout)
        except TimeoutError:
            raise AssertionError(f"no {which} in {timeout} s; got {self.seen}") from None


class Udp(Peer, asyncio.DatagramProtocol):
    """A socket on `127.0.0.1:PORT`."""

    @classmethod
    async def open(cls, host: str = "127.0.0.1", port: int = 0, to: tuple | None = None) -> "Udp":
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_datagram_endpoint(cls, (host, port or ports.free()))
        peer.to = to
        return peer

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.host, self.port = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, source: tuple) -> None:
        if data.strip():
            # Where the last message came from.
            self.source = source
            self.to = self.to or source
            self.took(data)

    def send(self, data: bytes, to: tuple | None = None) -> None:
        self.transport.sendto(data, to or self.to)

    @property
    def via(self) -> str:
        return f"UDP {self.host}:{self.port}"

    def close(self) -> None:
        self.transport.close()


class Stream(Peer):
    """One connection over TCP or TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str):
        super().__init__()
        self.reader, self.writer, self.kind = reader, writer, kind
        self.pongs = 0
        self.ended = asyncio.Event()
        self._task = asyncio.ensure_future(self._read())

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, name: str | None = None):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=name if tls else None)
        return cls(reader, writer, "TLS" if tls else "TCP")

    @property
    def via(self) -> str:
        host, port = self.writer.get_extra_info("sockname")[:2]
        return f"{self.kind} {host}:{port}"

    async def _read(self) -> None:
        data = b""
        try:
            while more := await self.reader.read(65536):
                data += more
                while b"\r\n" in data:
                    if data.startswith(b"\r\n"):
                        self.pongs += 1
                        data = data[2:]
                        continue
                    if b"\r\n\r\n" not in data:
                        break
                    head, _, rest = data.partition(b"\r\n\r\n")
                    length = re.search(rb"(?im)^(?:content-length|l)\s*:\s*(\d+)", head)
                    length = int(length[1]) if length else 0
                    if len(rest) < length:
                        break
                    self.took(head + b"\r\n\r\n" + rest[:length])
                    data = rest[length:]
        except (OSError, ssl.SSLError):
            pass
        self.ended.set()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def close(self) -> None:
        self._task.cancel()
        self.writer.close()


class Server:
    """Listens for connections; `connected` are those that came."""

    def __init__(self):
        self.connected: list[Stream] = []
        self.failures: list[str] = []
        self._news = asyncio.Event()

    @classmethod
    async def open(cls, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> "Server":
        self = cls()
        self.port = port or ports.free()

        async def came(reader, writer):
            try:
                if tls:
                    await writer.start_tls(tls, ssl_handshake_timeout=10)
                self.connected.append(Stream(reader, writer, "TLS" if tls else "TCP"))
            except (OSError, ssl.SSLError) as error:
                self.failures.append(str(error))
            self._news.set()

        self._server = await asyncio.start_server(came, host, self.port)
        return self

    async def will_connect(self, timeout: float = 20) -> Stream:
        """The next connection that has not been taken yet."""
        return await self._first(self.connected, timeout)

    async def will_fail(self, timeout: float = 20) -> str:
        """The next TLS handshake that a client broke off, in the words of the alert."""
        return await self._first(self.failures, timeout)

    async def _first(self, things: list, timeout: float):
        async def found():
            while not things:
                self._news.clear()
                await self._news.wait()
            return things.pop(0)

        return await asyncio.wait_for(found(), timeout)

    def close(self) -> None:
        self._server.close()
