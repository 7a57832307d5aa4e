"""A thin client of the REST API: typed answers, retries that do nothing twice, problems raised.

1. `server.Server` asks one server as one person: `ask` for an answer, `pages` for all of a list.
2. What a server refuses is a `problem.ServerProblem`, one that cannot be reached
   `problem.Unreachable`.
3. `rooms.Rooms` and `spaces.Spaces` name what can be asked of each; answers are the structs by
   which the server documents them.

**A request is repeated only where that cannot do it twice**: it reads, it was refused before
anything was done, or it makes something under an `Idempotency-Key`. (Of a DELETE whose connection
is lost aiohttp makes one more try: what was removed is then `no-such-…`.)
"""
