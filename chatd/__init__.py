"""chatd: rooms, messages, presence and recovery over WebSocket.

The path of a message:

1. `server.ChatServer.handle` takes the connection over from aiohttp (`handshake.take_over`); from
   then on `connection.WebSocketConnection.data_received` gets bytes and `websocket.FrameReader`
   makes messages of them. Where a network breaks WebSocket, `stream_server.Streams` takes requests
   and `stream.StreamConnection` writes events; the rest of the path is the same
   (`stream_relay` hands on what came to another hub).
2. `session.Session.receive_message` decodes (`wire.Codec.decode`) and judges: hello, rates,
   body, room grant. What it refuses is a row of `errors.REFUSALS`.
   Who may come into a room, `door.Door` says, by the token's `grants` and by what a `room_book`
   lays down about it; `membership.Membership` brings people in and out, asked or not.
3. `hub.Hub` checks membership (`rooms.Room`) and gathers the drafts of this loop iteration.
   `membership.Membership` lets people in and out of rooms, `refusals.Refusals` tells the refused.
4. `hub.Hub.flush`, once per iteration: `bus.Bus.publish` gives each draft its offset, the batch
   goes to `facts.Facts.commit` in one call, then acknowledgements and messages are queued.
5. `delivery.Delivery` encodes each frame once per subprotocol; every member's `outbox.Outbox`
   holds the same bytes and is written once. A reader that leaves too much unread is closed and
   recovers.
6. A client that comes back joins with `since`; `bus.Bus.read` answers from `history.History`.
   What a moderator has laid down, `moderation.ModerationBook` tells: `door.Door` asks it, and
   `bailiff.Bailiff` carries it out on who is connected. `podium.Podium` speaks for the server.
7. One that reads further back gets pages from `paging.Pager`, over the `archive.Archive` port;
   `retelling.Retelling` sends and counts both.

**Nothing is acknowledged or delivered before its facts are committed; what a commit refuses
has not happened.**

Ephemeral state (`state` frames: positions, typing) takes none of these steps: `states.StateBoards`
keeps the last values and tells what changed once a tick. `media.*` frames pass through
`exchange.Exchange` and `relay.Relay` to the `media.Media` port. PROTOCOL.md has every frame and
code with an example that a test replays.

Several processes on one room: `redis_bus.RedisBus` lets Redis order, keep, count and publish in one
call, and the hub hears of messages others accepted (`bus.Publication.own`) and of rooms whose
members have lost their place (`hub.Hub.lapsed`). `signals.Signals` tells all processes at once.

`neighbours.Neighbours` tells who of other processes is in a room and what they show, and
`signalled_online.SignalledOnline` who is online at all; nothing of it is stored.

Not supported: edits.
"""
