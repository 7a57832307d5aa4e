"""Measure a running server as any client would: text, idle connections, media.

1. `launch.Server` starts `metaport run` on free ports, unless a URL is given.
2. `text`, `idle` and `media` each bring their own clients: `websocket` speaks RFC 6455 and
   MessagePack by the independent `msgpack` package, `transport` speaks ICE, DTLS and SRTP.
3. They hand back `results.Figures`, one value a repeat; `statistics` makes the spread.
4. `results.Result` writes JSON and a Markdown table with machine and command.

**Nothing of the server is imported: what is measured is what goes over the wire**, and what the
operating system says about its processes.

Not supported: load from several machines, links other than the one the server is reached by.
"""
