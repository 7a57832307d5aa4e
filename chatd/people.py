"""The connections of this process, by user."""

from chatd.client import Client


class People:
    """Who is connected here, and by which connections."""

    def __init__(self) -> None:
        self._connections: dict[str, dict[Client, None]] = {}

    def came(self, client: Client) -> bool:
        """Add a connection; True when it is the first one of its user."""
        user = client.identity.user_id
        first = user not in self._connections
        self._connections.setdefault(user, {})[client] = None
        return first

    def went(self, client: Client) -> bool:
        """Take a connection away; True when it was the last one of its user."""
        user = client.identity.user_id
        connections = self._connections[user]
        del connections[client]
        if connections:
            return False
        del self._connections[user]
        return True

    def of(self, user: str) -> tuple[Client, ...]:
        """Return the connections of `user`, oldest first."""
        return tuple(self._connections.get(user, ()))
