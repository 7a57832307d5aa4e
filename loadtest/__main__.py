"""`python -m loadtest TOPIC [--url …] [--repeats n] [--out folder]`; `--help` lists the topics."""

import argparse
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from loadtest import idle, media, precedence, text
from loadtest.launch import running
from loadtest.results import Figures, Result, command_line, machine
from loadtest.target import Target

Measure = Callable[[Target, Figures], Awaitable[None]]

TOPICS: dict[str, Measure] = {
    "text": text.measure,
    "idle": idle.measure,
    "media": media.measure,
}
NOTES = {
    "text": "Client and server share the machine's cores; the client counts deliveries in the "
    "bytes, without decoding them.",
    "idle": "Least-squares slope of the hub's VmRSS; each connection said hello and joined a room.",
    "media": "Loopback only. Delay: from `send` to the kernel's time of arrival; added delay: "
    "minus the median without a server. CPU: user and system time of the SFU process, everything "
    "it did in those seconds, divided by the packets that arrived.",
}
FORWARDING_NOTES = (
    "Clients in a network namespace of their own over veth (loopback where that is not allowed); "
    "real ICE, DTLS and SRTP, checks and reports as browsers send them; no decoding.",
    "CPU: user and system time of the forwarding process as the system counts it, everything it "
    "did in those seconds, divided by the packets that arrived. Servers take turns in a repeat.",
    "Clients are not woken by a datagram: they look every 2 ms, and the kernel's time of arrival "
    "tells the delay. So no server is charged for waking them.",
    "sendto alone: thread CPU time of a bare Python loop in the same rhythm, its own cost "
    "included. Janus: its package's defaults, with ICE-lite and one address.",
)


@asynccontextmanager
async def target(url: str | None) -> AsyncIterator[Target]:
    """Yield the server at the URL, or one started for this, with the rate limits lifted."""
    if url is not None:
        yield Target(url.rstrip("/"))
        return
    with tempfile.TemporaryDirectory(prefix="metaport-load-") as folder:
        async with running(Path(folder) / "data", {"METAPORT_PROFILE": "bench"}) as server:
            yield Target(server.url, server)


async def measure(topic: str, url: str | None, repeats: int, out: Path) -> None:
    """Measure one topic, each repeat against a fresh server unless a URL is given."""
    figures, measured_on = Figures(), machine()
    for repeat in range(repeats):
        print(f"{topic}: repeat {repeat + 1} of {repeats}", flush=True)
        async with target(url) as server:
            await TOPICS[topic](server, figures)
    result = Result(topic, figures.all(), (NOTES[topic],), command_line(), measured_on)
    result.write(out)
    print(result.as_markdown(), flush=True)


LOSS_NOTES = (
    "Two pages of one Chromium with its fake camera (640 × 480, 30 a second) and microphone, "
    "behind one relay: every datagram is lost with that chance in each of the four directions, "
    "the seed being the same for both servers.",
    "Descriptions ask for lost sound again (`a=rtcp-fb:111 nack`), as our SDK's do.",
    "Longest time without a new picture: framesDecoded looked at every 20 ms; one encoded: "
    "framesEncoded of the sender, whose own pauses no server can heal.",
)


async def measure_forwarding(repeats: int, out: Path) -> None:
    """Measure the packet path, beside Janus where it is installed; needs the compiled clients."""
    # The other topics do without a C compiler.
    from loadtest import forwarding, forwarding_report  # noqa: PLC0415

    figures, measured_on = Figures(), machine()
    await forwarding.measure(repeats, figures)
    _write("forwarding", figures, FORWARDING_NOTES, measured_on, out)
    forwarding_report.write(figures.all(), out)


async def measure_loss(repeats: int, out: Path) -> None:
    """Measure calls over a lossy link, beside Janus where it is installed; needs Chromium."""
    from loadtest import loss  # noqa: PLC0415 - the other topics do without a browser

    figures, measured_on = Figures(), machine()
    await loss.measure(repeats, loss.LOSSES, figures)
    _write("loss", figures, LOSS_NOTES, measured_on, out)


def _write(
    topic: str, figures: Figures, notes: tuple[str, ...], measured_on: dict[str, str], out: Path
) -> None:
    result = Result(topic, figures.all(), notes, command_line(), measured_on)
    result.write(out)
    print(result.as_markdown(), flush=True)


async def _awaited(measuring: Awaitable[None]) -> None:
    await measuring


LONG: dict[str, Callable[[int, Path], Awaitable[None]]] = {
    "forwarding": measure_forwarding,
    "loss": measure_loss,
}


def main() -> None:
    """Run the chosen measurements."""
    parser = argparse.ArgumentParser(prog="loadtest", description=__doc__)
    parser.add_argument("topic", choices=[*TOPICS, *LONG, "all"])
    parser.add_argument(
        "--url", help="a running server; default: start one with METAPORT_PROFILE=bench"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("loadtest/results"))
    chosen = parser.parse_args()
    idle.raise_file_limit()
    with precedence.taken():
        if chosen.topic in LONG:
            uvloop.run(_awaited(LONG[chosen.topic](chosen.repeats, chosen.out)))
            return
        for topic in TOPICS if chosen.topic == "all" else [chosen.topic]:
            uvloop.run(measure(topic, chosen.url, chosen.repeats, chosen.out))


if __name__ == "__main__":
    main()
