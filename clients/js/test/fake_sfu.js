/** A media server as far as a client can tell, and a client in its room. */

import { Metaport } from "../src/index.js";
import { FakeServer, FakeSocket, fakeEnvironment, settle } from "./fakes.js";

/** The media server as far as a client can tell: participants, tracks, offers. */
export class FakeSfu {
  participants = 0;
  tracks = 0;
  resumes = new Map();
  published = [];
  muted = [];
  log = [];
  others = { participants: [], tracks: [] };
  /** Called with each frame before it is served; return an error to refuse it. */
  refuse = () => null;

  serve = (socket, frame) => {
    this.socket = socket;
    this.log.push(frame.t);
    const reply = (t, fields = {}) => socket.say({ t, id: frame.id, room: frame.room, ...fields });
    const error = this.refuse(frame);
    if (error) return reply("error", error);
    if (frame.t === "media.join") return reply("media.joined", this.#joined(frame));
    if (frame.t === "media.publish") return reply("media.published", this.#publish(frame));
    if (frame.t === "media.mute") this.muted.push([frame.track, frame.muted]);
    if (frame.t === "media.answer") this.answered = frame;
    return reply(`${frame.t}ed`, frame);
  };

  /** The process died: nothing is known any more. */
  restart() {
    this.resumes.clear();
    this.socket.say({ t: "media.closed", room: "lobby", reason: "media_unavailable" });
  }

  push(frame) {
    this.socket.say({ room: "lobby", ...frame });
  }

  offer(n, ...tracks) {
    const sdp = `mids:${tracks.map(({ mid }) => mid).join(",")}`;
    this.push({ t: "media.offer", n, sdp, tracks });
  }

  #joined({ resume }) {
    const participant = this.resumes.get(resume) ?? `p${++this.participants}`;
    const secret = `secret-${participant}`;
    this.resumes.set(secret, participant);
    const self = { participant, user: "u1", name: "방문객" };
    const own = this.published.map(({ track }) => ({ track, participant, kind: "audio", source: "microphone" }));
    return {
      participant,
      resume: secret,
      ice_servers: [],
      participants: [self, ...this.others.participants],
      tracks: [...this.others.tracks, ...own],
    };
  }

  #publish({ sdp, tracks }) {
    this.offered = sdp;
    this.published = tracks.map(({ mid, source }) => ({ mid, source, track: `own-${source}` }));
    return { sdp: "answer", tracks: this.published.map(({ mid, track }) => ({ mid, track })) };
  }
}

export const GUEST = { participant: "p9", user: "u9", name: "손님" };
export const theirs = (mid, source, kind = "video") => ({ mid, track: `t-${source}`, ...GUEST, kind, source, muted: false });

export async function enter({ join = true } = {}) {
  const { clock, environment } = fakeEnvironment();
  const server = new FakeServer();
  const sfu = new FakeSfu();
  server.media = sfu.serve;
  const client = new Metaport({ server: "http://server", token: "secret", environment });
  const joining = client.join("lobby");
  await settle();
  server.serve(FakeSocket.last);
  const room = await joining;
  const { media } = room;
  const errors = [];
  media.on("error", ({ reason }) => errors.push(reason));
  if (join) await media.join();
  return { clock, environment, server, sfu, client, room, media, errors };
}

export async function reconnect({ clock, server }) {
  FakeSocket.last.end(1006);
  await clock.advance(300);
  server.serve(FakeSocket.last);
  await settle();
}
