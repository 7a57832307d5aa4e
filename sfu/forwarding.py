"""The sans-IO forwarding core: publishers, their tracks, and who receives them.

What a caller needs of it; see the package's docstring for the path of a packet.
"""

from sfu.codec import Codec
from sfu.publisher import Publisher
from sfu.subscriber import Subscriber
from sfu.subscription import Output, Subscription
from sfu.tally import Tally
from sfu.track import Kind, Track

__all__ = [
    "Codec",
    "Kind",
    "Output",
    "Publisher",
    "Subscriber",
    "Subscription",
    "Tally",
    "Track",
]
