#!/bin/sh
# Install the clients that `make interop` needs beside what tests/system/install_servers.sh installs:
# Firefox, and GStreamer's webrtcbin with its bindings for the system's Python. Debian, Ubuntu.
set -eu

have_firefox() {
	command -v firefox-esr >/dev/null 2>&1 || command -v firefox >/dev/null 2>&1
}

have_webrtcbin() {
	/usr/bin/python3 -c 'import gi
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst
Gst.init(None)
for name in ("webrtcbin", "nicesink", "vp8enc", "opusenc", "rtpvp8pay"):
    assert Gst.ElementFactory.find(name), name' >/dev/null 2>&1
}

wanted=
have_firefox || wanted="$wanted firefox-esr"
have_webrtcbin || wanted="$wanted python3-gi gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
[ -n "$wanted" ] || exit 0
command -v apt-get >/dev/null 2>&1 || { echo "install by hand: $wanted" >&2; exit 1; }
as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
# shellcheck disable=SC2086 — a list of names
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted
have_firefox && have_webrtcbin
