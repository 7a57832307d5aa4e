// The least a chat server does, on Socket.IO with WebSocket only.
"use strict";
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  pingInterval: 600000,
  pingTimeout: 600000,
});
io.on("connection", (socket) => {
  socket.on("join", (room) => socket.join(room));
  socket.on("say", (room, body) => io.to(room).emit("message", body));
});
http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
