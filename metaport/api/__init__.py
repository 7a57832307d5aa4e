"""The HTTP side of the platform: one aiohttp application on one port.

1. `app.build_app` lays routes over a `Services` record that `metaport.compose` fills.
2. Every request passes `headers.secure` (security headers, CORS, request id) and
   `problems.render` (exceptions to RFC 9457 problem documents).
3. `access.require` turns a bearer token into claims; handlers get plain values from then on.

**No handler touches a socket, a file or SQL of its own**: it asks the hub, the SFU's control
client or the ledger. Not here yet: cookies, cursor pagination, webhooks.
"""
