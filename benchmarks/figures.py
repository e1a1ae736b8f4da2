#!/usr/bin/env python3
"""How much memory a large figure takes while it arrives, as a share of its decoded size.

Each format is heard in a fresh Python, from a server on loopback that makes the figure as it sends it; that server's
share counts too. The last line is the worst ratio; exit 1 when it is over the bar.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

BAR = 1.5
PNG = b"\x89PNG\r\n\x1a\n"
PIECE = 48_000  # bytes: they are 64,000 characters


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=50.0, help="of the figure, in MB (default: 50)")
    parser.add_argument("--format", choices=FORMATS, action="append", help="only this one")
    parser.add_argument("--here", action="store_true", help="in this process (for one format)")
    options = parser.parse_args()
    formats = options.format or list(FORMATS)
    if options.here:
        print(json.dumps(asyncio.run(measure(formats[0], options.size))))
        return 0
    found = [in_a_fresh_python(format, options.size) for format in formats]
    for each in found:
        print(f"{each['format']:12} {each['ratio']:.2f} of {each['size'] / 1e6:.0f} MB, {each['seconds']:.1f} s")
    worst = max(each["ratio"] for each in found)
    print(f"{worst:.3f}")
    return int(worst > BAR)


def in_a_fresh_python(format: str, size: float) -> dict:
    command = [sys.executable, __file__, "--here", "--format", format, "--size", str(size)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


async def measure(format: str, megabytes: float) -> dict:
    """Once with a small figure, for all that is made once; then what the large one adds to the memory."""
    await heard(format, PIECE)
    forget_peak()
    before, started, size = peak(), time.perf_counter(), int(megabytes * 1e6) // PIECE * PIECE
    characters = await heard(format, size)
    seconds, grown = time.perf_counter() - started, peak() - before
    assert characters == size // 3 * 4, characters
    return {"format": format, "ratio": grown / size, "size": size, "seconds": seconds}


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most memory this process has had since, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


async def heard(format: str, size: int) -> int:
    """How many characters of base64 there are in the figure of a Result."""
    from ipy_codeinterp.catalog import Offer
    from ipy_codeinterp.client.chain import Run
    from ipy_codeinterp.client.http import Endpoint
    from ipy_codeinterp.client.transport import Transport
    from ipy_codeinterp.execution import Execution

    async def ignore(event: object) -> None:
        pass

    async def connect(_: str) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{port}", "a key", ours=format != "gemini", format=format)

    server = await asyncio.start_server(serve(FORMATS[format], size), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = Transport(connect)
    try:
        result = await transport.send(Run(Execution("x"), Offer("m", "p", 60.0, 1 << 30), ignore))
    finally:
        await transport.close()
        server.close()
    (figure,) = result.images
    return len(figure.data["image/png"])


def serve(events: Callable[[], Iterator[dict]], size: int):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for event in events():
            before, *behind = json.dumps(event).split("FIGURE")
            writer.write(b"data: " + before.encode())
            for after in behind:
                for place in range(0, size, PIECE):
                    writer.write(base64.b64encode((PNG if not place else b"") + bytes(PIECE - len(PNG) * (not place))))
                    await writer.drain()
                writer.write(after.encode())
            writer.write(b"\n\n")
        await writer.drain()
        writer.close()

    return answer


# --- what is said, live and once more at the end, as it is done -----------------------------------


def messages() -> Iterator[dict]:
    """Our own gateway: this format has no figures of its own."""
    shown = {"output_type": "display_data", "data": {"image/png": "FIGURE", "text/plain": "x"}, "metadata": {}}
    ran = {"outputs": [shown], "outcome": "ok", "limit": None, "files": [], "timings": {"execution": 1.0}, "note": ""}
    use = {"type": "server_tool_use", "id": "s1", "name": "bash_code_execution", "input": {"command": "x"}}
    content = {"type": "bash_code_execution_result", "stdout": "", "stderr": "", "return_code": 0, "content": []}
    result = {"type": "bash_code_execution_tool_result", "tool_use_id": "s1", "content": content}
    yield {"type": "message_start", "message": {"id": "m1", "content": [], "usage": {}}}
    yield {"type": "content_block_start", "index": 0, "content_block": use}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "ipy_codeinterp.start", "container": "c1", "new": True, "isolation": "bubblewrap", "warm": True}
    yield {"type": "ipy_codeinterp.output", "output": shown}
    yield {"type": "content_block_start", "index": 1, "content_block": {**result, "ipy_codeinterp": ran}}
    yield {"type": "content_block_stop", "index": 1}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
    yield {"type": "message_stop"}


def responses() -> Iterator[dict]:
    image = {"type": "image", "url": "data:image/png;base64,FIGURE"}
    call = {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "container_id": "cntr_1"}
    item = {**call, "code": "x", "outputs": [image]}
    yield {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": [item]}}


def gemini() -> Iterator[dict]:
    parts = [
        {"executableCode": {"language": "PYTHON", "code": "x"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": ""}},
        {"inlineData": {"mimeType": "image/png", "data": "FIGURE"}},
    ]
    yield {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}]}


FORMATS: dict[str, Callable[[], Iterator[dict]]] = {"messages": messages, "responses": responses, "gemini": gemini}

if __name__ == "__main__":
    sys.exit(main())
