// The least a chat server does, on uWebSockets.js: whoever connects to /ROOM subscribes to it.
"use strict";
const uws = require("@btc-vision/uwebsockets.js");

const app = uws.App();
app
  .ws("/*", {
    compression: uws.DISABLED,
    idleTimeout: 0,
    sendPingsAutomatically: false,
    // The default drops what a receiver has not read after 64 KiB; here everything arrives.
    maxBackpressure: 64 << 20,
    upgrade: (response, request, context) => {
      response.upgrade(
        { room: request.getUrl() },
        request.getHeader("sec-websocket-key"),
        request.getHeader("sec-websocket-protocol"),
        request.getHeader("sec-websocket-extensions"),
        context,
      );
    },
    open: (socket) => socket.subscribe(socket.getUserData().room),
    // `app.publish` reaches the sender too, as in every other server here.
    message: (socket, data) => app.publish(socket.getUserData().room, data, true),
  })
  .listen("127.0.0.1", Number(process.argv[2]), (token) => {
    if (!token) process.exit(1);
  });
