"""Publish a tone and a ball by GStreamer's webrtcbin and WHIP; arguments are URL and token.

Runs under the system's Python, which has GStreamer's bindings. Debian 12 packages no
whipclientsink, and its simple-whip-client ends at start: it loads two versions of libsoup.
"""

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 - after their versions

PIPELINE = (
    "webrtcbin name=webrtc bundle-policy=max-bundle "
    "audiotestsrc is-live=true wave=sine ! audioconvert ! audioresample ! queue ! opusenc ! "
    "rtpopuspay pt=100 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=100 ! webrtc. "
    "videotestsrc is-live=true pattern=ball ! videoconvert ! queue ! "
    "vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay pt=96 ! "
    "application/x-rtp,media=video,encoding-name=VP8,payload=96 ! webrtc."
)


class Encoder:
    """One webrtcbin that publishes by WHIP."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self.pipeline = Gst.parse_launch(PIPELINE)
        self._webrtc = self.pipeline.get_by_name("webrtc")
        self._webrtc.connect("on-negotiation-needed", self._offer)
        self._webrtc.connect("notify::ice-gathering-state", self._gathered)

    def _offer(self, _: Gst.Element) -> None:
        promise = Gst.Promise.new_with_change_func(self._offered)
        self._webrtc.emit("create-offer", None, promise)

    def _offered(self, promise: Gst.Promise) -> None:
        reply = promise.get_reply()  # owns the offer
        offer = _description(GstWebRTC.WebRTCSDPType.OFFER, reply.get_value("offer").sdp.as_text())
        self._webrtc.emit("set-local-description", offer, Gst.Promise.new())

    def _gathered(self, *_: object) -> None:
        state = self._webrtc.get_property("ice-gathering-state")
        if state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self._publish(self._webrtc.get_property("local-description").sdp.as_text())

    def _publish(self, offer: str) -> None:
        request = urllib.request.Request(
            self._url,
            offer.encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/sdp"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
        print(offer, text, sep="\n", flush=True)
        answer = _description(GstWebRTC.WebRTCSDPType.ANSWER, text)
        self._webrtc.emit("set-remote-description", answer, Gst.Promise.new())


def _description(kind: object, text: str) -> GstWebRTC.WebRTCSessionDescription:
    _, message = GstSdp.SDPMessage.new_from_text(text)
    return GstWebRTC.WebRTCSessionDescription.new(kind, message)


def main() -> None:
    Gst.init(None)
    encoder = Encoder(*sys.argv[1:])
    encoder.pipeline.set_state(Gst.State.PLAYING)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
