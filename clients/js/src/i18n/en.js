/** Words of the SDK in English, for a page to show: connection states, message states, reasons. */
export default {
  connection: {
    idle: "Not connected",
    connecting: "Connecting",
    connected: "Connected",
    waiting: "Reconnecting",
    closed: "Disconnected",
  },
  media: {
    idle: "Not in the call",
    joining: "Joining the call",
    joined: "In the call",
    recovering: "Rejoining the call",
  },
  message: {
    sending: "Sending",
    sent: "Sent",
    failed: "Not sent",
    received: "Received",
  },
  reasons: {
    // connection
    unreachable: "The server cannot be reached.",
    disconnected: "The connection was lost.",
    timeout: "The server does not answer.",
    closed: "The connection was closed.",
    sign_in_failed: "Could not sign in. Please check what you entered.",
    bad_token: "Your sign-in is not valid. Please enter again.",
    token_expired: "Your sign-in has expired. Please enter again.",
    token_lapsed: "Your sign-in ran out. Reconnecting.",
    silent: "The connection was closed because nothing was heard.",
    unsupported_version: "This page is out of date. Please reload it.",
    // messages
    not_sent_in_time: "Not sent: the connection was away for too long.",
    body_too_big: "The message is too long. Please send it in parts.",
    bad_body: "The message holds something that cannot be sent.",
    storage_full: "The server is out of storage. Please try again later.",
    rate_limited: "You are sending too fast. Please wait a moment.",
    // rooms
    too_many_rooms: "No more rooms can be entered.",
    not_joined: "You are not in this room.",
    bad_room: "A room name may hold letters, digits and - _ . : / only.",
    forbidden: "You may not enter this room.",
    // devices
    insecure_context: "Microphone and camera need a secure connection (HTTPS).",
    permission_denied: "Microphone or camera was not allowed. Check the permissions next to the address bar.",
    device_missing: "The device was not found. Check that it is plugged in.",
    device_busy: "Another program is using the device.",
    device_failed: "The device could not be switched on.",
    webrtc_missing: "This browser cannot do voice and video.",
    // media
    media_unreachable: "The voice and video server cannot be reached. The network may be blocking it.",
    media_unavailable: "The voice and video server is not ready. Trying again shortly.",
    no_media: "Voice and video are not available now. Please try again later.",
    media_closed: "The voice and video connection was lost. Rejoining.",
    too_many_participants: "The call is full.",
    too_many_tracks: "Nothing more can be published.",
    may_not_publish: "In this room you can listen only.",
    unsupported_codecs: "This browser's audio and video formats are not supported.",
    internal: "Something went wrong on the server. Please try again shortly.",
  },
  unknown: "That did not work.",
};
