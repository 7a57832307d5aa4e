import { spotlightSizes, tileSize } from "./grid.js";
import { language } from "./language.js";
import { Tile } from "./tile.js";

/** Everyone who takes part in voice and video: their pictures in a grid, their voices unseen. */
export class Stage {
  /** @param {import("/sdk/index.js").Metaport} client @param {import("/sdk/room.js").Room} room */
  constructor(client, room) {
    this.#client = client;
    this.#media = room.media;
    this.#grid = document.getElementById("tiles");
    this.#media.on("changed", () => this.#draw());
    this.#media.on("participant", (frame) => this.#announce(frame));
    language.on("changed", () => this.#draw());
    new ResizeObserver(() => this.#arrange()).observe(this.#grid);
    this.#draw();
  }

  #client;
  #media;
  #grid;
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  /** @type {WeakMap<MediaStreamTrack, MediaStream>} */
  #streams = new WeakMap();
  /** @type {Map<string, HTMLAudioElement>} */
  #voices = new Map();

  #draw() {
    const inCall = this.#media.state !== "idle";
    const views = inCall ? this.#views() : [];
    document.getElementById("stage-idle").hidden = inCall;
    this.#grid.hidden = !inCall;
    const people = views.filter(({ screen }) => !screen).length;
    document.getElementById("stage-alone").hidden = !(this.#media.state === "joined" && people === 1);
    document.getElementById("stage-count").textContent = inCall ? language.say("stage.count", { n: people }) : "";
    document.getElementById("view-people-count").textContent = people || "";
    this.#place(views);
    this.#hear();
  }

  /** Others in the order they came, then we; screens before all. */
  #views() {
    const others = [...this.#media.participants.people.values()].filter(({ self }) => !self);
    const views = others.map((person) => personView(person));
    for (const person of others) {
      const screen = person.track("screen");
      if (screen?.stream) views.unshift(screenView(person, screen.stream));
    }
    const own = this.#ownView();
    const screen = this.#media.local.get("screen");
    if (screen?.track) views.unshift(ownScreen(own, this.#streamOf(screen)));
    return [...views, own];
  }

  #ownView() {
    const { local, participants } = this.#media;
    const microphone = local.get("microphone");
    const camera = local.get("camera");
    const person = participants.people.get(participants.self);
    const speaking = person?.speaking && !microphone?.muted;
    return {
      key: "own",
      name: this.#client.user?.name ?? "",
      user: this.#client.user?.id ?? "",
      self: true,
      screen: false,
      stream: camera?.track && !camera.muted ? this.#streamOf(camera) : null,
      voice: voiceOf(microphone, speaking),
    };
  }

  /** The same stream for the same track, so that a picture is not restarted. */
  #streamOf({ track }) {
    if (!this.#streams.has(track)) this.#streams.set(track, new MediaStream([track]));
    return this.#streams.get(track);
  }

  #place(views) {
    const keys = new Set(views.map(({ key }) => key));
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      tile.remove();
      this.#tiles.delete(key);
    }
    views.forEach((view, index) => {
      const tile = this.#tiles.get(view.key) ?? new Tile(view, this.#client.playback);
      tile.update(view);
      this.#tiles.set(view.key, tile);
      // Moving an element that is in its place would restart its video.
      if (this.#grid.children[index] !== tile.element) {
        this.#grid.insertBefore(tile.element, this.#grid.children[index] ?? null);
      }
    });
    this.#arrange();
  }

  #arrange() {
    const style = getComputedStyle(this.#grid);
    const width = this.#grid.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const height = this.#grid.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    if (!(width > 0 && height > 0)) return;
    const gap = parseFloat(style.columnGap) || 0;
    const tiles = [...this.#tiles.values()];
    const screens = tiles.filter(({ view }) => view.screen).length;
    const size = tileSize(tiles.length, width, height, gap);
    const lit = screens > 0 && spotlightSizes(screens, tiles.length - screens, width, height, gap);
    for (const tile of tiles) {
      const own = lit ? (tile.view.screen ? lit.screen : lit.person) : size;
      tile.resize(own.width, own.height);
    }
  }

  #hear() {
    const tracks = this.#media.participants.tracks().filter(({ kind, stream }) => kind === "audio" && stream);
    const present = new Set(tracks.map(({ id }) => id));
    for (const [id, voice] of this.#voices) {
      if (present.has(id)) continue;
      this.#client.playback.detach(voice);
      voice.remove();
      this.#voices.delete(id);
    }
    for (const { id, stream } of tracks) {
      const voice = this.#voices.get(id) ?? document.createElement("audio");
      if (!this.#voices.has(id)) document.getElementById("voices").append(voice);
      this.#voices.set(id, voice);
      if (voice.srcObject !== stream) this.#client.playback.attach(voice, stream);
    }
  }

  #announce({ event, name, participant }) {
    if (participant === this.#media.participants.self) return;
    const key = event === "left" ? "stage.someoneLeft" : "stage.someoneJoined";
    document.getElementById("announcer").textContent = language.say(key, { name });
  }
}

function personView(person) {
  const camera = person.track("camera");
  return {
    key: person.id,
    name: person.name,
    user: person.user,
    self: false,
    screen: false,
    stream: camera && !camera.muted ? camera.stream : null,
    voice: voiceOf(person.track("microphone"), person.speaking),
  };
}

function ownScreen(own, stream) {
  return { ...own, key: "own screen", screen: true, stream, voice: "quiet" };
}

function screenView(person, stream) {
  return { ...personView(person), key: `${person.id} screen`, screen: true, stream, voice: "quiet" };
}

/** @param {{muted: boolean} | undefined} microphone */
function voiceOf(microphone, speaking) {
  if (!microphone) return "silent";
  if (microphone.muted) return "muted";
  return speaking ? "speaking" : "quiet";
}
