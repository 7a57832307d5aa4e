// The least a chat server does, on `ws`: whoever connects to /ROOM gets what anyone says there.
"use strict";
const { WebSocketServer } = require("ws");

const rooms = new Map();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
  skipUTF8Validation: true,
  backlog: 4096,
});
server.on("connection", (socket, request) => {
  const room = request.url;
  if (!rooms.has(room)) rooms.set(room, new Set());
  const members = rooms.get(room).add(socket);
  socket.on("message", (data) => {
    for (const member of members) member.send(data, { binary: true });
  });
  socket.on("close", () => members.delete(socket));
  socket.on("error", () => members.delete(socket));
});
