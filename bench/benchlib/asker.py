# SPDX-License-Identifier: Apache-2.0
"""Requests with their times, hundreds at once in one thread: the clients of bench/benchlib/queues.py. An open loop
asks by a schedule, however long answers take; a closed loop when the answer before is there."""
import asyncio
import dataclasses
import json
import random

ANSWER_S = 300


@dataclasses.dataclass
class Answer:
    """Times are of the loop, in seconds."""
    due: float
    tenant: str = ""
    status: int = 0
    waited_s: float = 0.0  # for its turn, as the gateway says
    first: float | None = None
    ended: float | None = None
    parts: int = 0
    text: str = ""
    prompt_tokens: int = 0
    answer_tokens: int = 0
    error: str | None = None

    def read(self, line):
        part = json.loads(line)
        if "error" in part:
            raise ValueError(part["error"])
        self.parts += 1
        self.text += part.get("response") or (part.get("message") or {}).get("content") or ""
        self.prompt_tokens = part.get("prompt_eval_count", self.prompt_tokens)
        self.answer_tokens = part.get("eval_count", self.answer_tokens)
        return part.get("done", False)


def request_of(method, path, body, key):
    data = b"" if body is None else json.dumps(body).encode()
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n" + (f"Authorization: Bearer {key}\r\n" if key else "") + "\r\n").encode() + data


async def read_head(reader, answer):
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    answer.status = int(lines[0].split()[1])
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    answer.waited_s = int(headers.get("x-mcpgate-queue-wait", 0)) / 1000
    return headers


async def read_pieces(reader, headers):
    if "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
        return
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def exchange(reader, writer, request, answer):
    loop = asyncio.get_running_loop()
    writer.write(request)
    headers = await read_head(reader, answer)
    rest, done = b"", False
    async for piece in read_pieces(reader, headers):
        answer.first = answer.first or loop.time()
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            done = answer.read(line)
    if rest:
        done = answer.read(rest)
    if answer.status != 200 or not done:
        raise ValueError(f"status {answer.status}, {answer.parts} parts and no last one")


async def ask(at, path, body, tenant="", key=None, due=None, noted=None):
    """`noted`: a list of all answers, which it joins when it is asked. A cancelled one is in it without an end."""
    loop = asyncio.get_running_loop()
    answer = Answer(due if due is not None else loop.time(), tenant)
    if noted is not None:
        noted.append(answer)
    host, port = at.rsplit(":", 1)
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            async with asyncio.timeout(ANSWER_S):
                await exchange(reader, writer, request_of("POST", path, body, key), answer)
        finally:
            writer.transport.abort()
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError, TimeoutError) as error:
        answer.error = str(error) or type(error).__name__
    answer.ended = loop.time()
    return answer


async def open_loop(seconds, each_s, make, seed=None):
    """Calls make(number, due), which gives a coroutine, at a fixed pace, or with `seed` at random times; the
    tasks."""
    loop, tasks = asyncio.get_running_loop(), []
    order = random.Random(seed)
    begun = due = loop.time()
    while due < begun + seconds:
        await asyncio.sleep(max(0, due - loop.time()))
        tasks.append(asyncio.create_task(make(len(tasks), due)))
        due += each_s if seed is None else order.expovariate(1 / each_s)
    return tasks


async def closed_loop(clients, seconds, make):
    """So many clients, each of which awaits make(client, number) again and again for that time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def client(index):
        number = 0
        while loop.time() < end:
            await make(index, number)
            number += 1

    await asyncio.gather(*(client(index) for index in range(clients)))


async def leave(tasks):
    """Those that still run end now."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def page(at, path, key=None, body=None):
    """The JSON of a page, or of the answer to a body."""
    host, port = at.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request_of("GET" if body is None else "POST", path, body, key))
        answer = Answer(0)
        headers = await read_head(reader, answer)
        text = b"".join([piece async for piece in read_pieces(reader, headers)])
    finally:
        writer.transport.abort()
    if answer.status != 200:
        raise OSError(f"{at}{path}: status {answer.status}: {text.decode(errors='replace')}")
    return json.loads(text)
