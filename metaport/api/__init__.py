"""The HTTP side of the platform: one aiohttp application on one port.

1. Each module says in `OPERATIONS` what can be asked of it, by whom, with what; `app.build_app`
   lays them over a `Services` record that `metaport.compose` fills.
2. Every request passes `headers.secure` (security headers, CORS, request id) and
   `problems.render` (exceptions to RFC 9457 problem documents).
3. `operations.enforce` turns a bearer token into claims and asks `metaport.roles` whether they
   permit the operation; handlers get plain values from then on.

**No handler touches a socket, a file or SQL of its own**: it asks the hub, the SFU's control
client or the ledger. **No handler is reached but through its operation.** Not here yet: cookies.
"""
