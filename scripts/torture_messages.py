#!/usr/bin/env python3
"""Writes the torture messages out of the text of RFC 4475 or RFC 5118.

    zcat rfc4475.txt.gz | scripts/torture_messages.py tests/data/rfc4475
    zcat rfc5118.txt.gz | scripts/torture_messages.py --crlf tests/data/rfc5118

Both RFCs carry a gzipped tar archive in base64 in their appendix A. The files of RFC 5118 have bare
line feeds, some lack the empty line at the end, and the Content-Length of those with a body counts neither
kind of line end; --crlf makes them what goes over the wire.
"""

import base64
import io
import pathlib
import re
import sys
import tarfile


def archive(text: str) -> bytes:
    begin = text.rindex("-- BEGIN MESSAGE ARCHIVE --")
    end = text.rindex("-- END MESSAGE ARCHIVE --")
    lines = text[begin:end].splitlines()[1:]
    return base64.b64decode("".join(line.strip() for line in lines if re.fullmatch(r"\s*\S+\s*", line)))


def wire(content: bytes) -> bytes:
    content = content.replace(b"\r\n", b"\n")
    if b"\n\n" not in content:
        content = content.rstrip(b"\n") + b"\n\n"
    head, body = content.replace(b"\n", b"\r\n").split(b"\r\n\r\n", 1)
    length = b"Content-Length: %d" % len(body)
    return re.sub(rb"(?i)content-length: *\d+", length, head) + b"\r\n\r\n" + body


def main() -> None:
    arguments = sys.argv[1:]
    crlf = "--crlf" in arguments
    (folder,) = [pathlib.Path(a) for a in arguments if a != "--crlf"]
    folder.mkdir(parents=True, exist_ok=True)
    data = archive(sys.stdin.buffer.read().decode("utf-8", "replace"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar.getmembers():
            if not member.isfile():
                continue
            name = pathlib.Path(member.name).name
            content = tar.extractfile(member).read()
            name = pathlib.Path(name).stem + ".dat"
            (folder / name).write_bytes(wire(content) if crlf else content)
            print(name, len(content))


main()
