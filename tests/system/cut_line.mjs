// Join a room by the SDK, stay, and print what is heard: `node cut_line.mjs URL TOKEN ROOM`.
import { Metaport } from "../../clients/js/src/index.js";

const [server, token, name] = process.argv.slice(2);
const tell = (what) => console.log(JSON.stringify(what));
// Node 18 has no WebSocket: this session's network is known to break it.
const session = { getItem: () => "1", setItem() {}, removeItem() {} };
const client = new Metaport({ server, token, environment: { session } });
const room = client.room(name);
room.on("message", ({ message, origin }) => tell({ offset: message.offset, origin }));
room.on("gap", (gap) => tell({ gap }));
room.on("state", (state) => tell({ state, offset: room.offset }));
await client.join(name, { history: 0 });
