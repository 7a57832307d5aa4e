/**
 * A track someone else publishes.
 *
 * @typedef {import("./publishing.js").Source} Source
 */
export class RemoteTrack {
  /** @param {Record<string, any>} frame a Track of the protocol */
  constructor(frame) {
    /** @type {string} */ this.id = frame.track;
    /** @type {string} */ this.participant = frame.participant;
    /** @type {string} */ this.user = frame.user;
    /** @type {string} */ this.name = frame.name;
    /** @type {"audio" | "video"} */ this.kind = frame.kind;
    /** @type {Source} */ this.source = frame.source;
    /** @type {boolean} */ this.muted = frame.muted ?? false;
    /** Present while it is being received. @type {MediaStreamTrack | null} */
    this.mediaTrack = null;
    /** The same, ready for `srcObject`. @type {MediaStream | null} */
    this.stream = null;
  }
}

/** Someone in the media of a room. */
export class Participant {
  /** @param {{participant: string, user: string, name: string}} frame @param {boolean} self */
  constructor({ participant, user, name }, self) {
    this.id = participant;
    this.user = user;
    this.name = name;
    this.self = self;
    /** @type {Map<string, RemoteTrack>} */
    this.tracks = new Map();
    /** Loudness from 0 to 100, as the server measures it. */
    this.level = 0;
  }

  get speaking() {
    return this.level > 0;
  }

  /**
   * Find what comes from a source.
   *
   * @param {Source} source
   * @returns {RemoteTrack | undefined}
   */
  track(source) {
    return [...this.tracks.values()].find((each) => each.source === source);
  }
}

/** Everyone in the media of a room, kept by the server's frames. */
export class Participants {
  /** @type {Map<string, Participant>} */
  people = new Map();
  /** This client's own participant. @type {string | null} */
  self = null;

  /**
   * Start from what the server says is there. People and tracks already known stay the same
   * objects, so that what is attached to a page keeps playing.
   *
   * @param {string} self
   * @param {any[]} people
   * @param {any[]} tracks
   */
  reset(self, people, tracks) {
    this.self = self;
    const before = this.people;
    this.people = new Map();
    for (const frame of people) {
      this.people.set(frame.participant, before.get(frame.participant) ?? new Participant(frame, frame.participant === self));
    }
    const present = new Set(tracks.map(({ track }) => track));
    for (const person of this.people.values()) {
      for (const id of person.tracks.keys()) if (!present.has(id)) person.tracks.delete(id);
    }
    for (const frame of tracks) this.add(frame);
  }

  /** Be the same people and tracks as another place's. @param {Participants} other */
  become(other) {
    this.people = other.people;
    this.self = other.self;
  }

  clear() {
    this.people = new Map();
    this.self = null;
  }

  /** @param {{event: string, participant: string, user: string, name: string}} frame */
  change(frame) {
    if (frame.event === "left") this.people.delete(frame.participant);
    else if (!this.people.has(frame.participant)) this.#person(frame);
  }

  /**
   * Know a track, or what is new about it.
   *
   * @param {any} frame
   * @returns {RemoteTrack | null} `null` for one's own
   */
  add(frame) {
    if (frame.participant === this.self) return null;
    const person = this.people.get(frame.participant) ?? this.#person(frame);
    const known = person.tracks.get(frame.track);
    if (known) known.muted = frame.muted ?? known.muted;
    const track = known ?? new RemoteTrack(frame);
    person.tracks.set(track.id, track);
    return track;
  }

  /** @param {any} frame @returns {RemoteTrack | null} */
  remove(frame) {
    const person = this.people.get(frame.participant);
    const track = person?.tracks.get(frame.track) ?? null;
    person?.tracks.delete(frame.track);
    return track;
  }

  /** @param {{participant: string, level: number}[]} speakers all who speak now */
  speakers(speakers) {
    const levels = new Map(speakers.map(({ participant, level }) => [participant, level]));
    for (const person of this.people.values()) person.level = levels.get(person.id) ?? 0;
  }

  /** @returns {RemoteTrack[]} */
  tracks() {
    return [...this.people.values()].flatMap((person) => [...person.tracks.values()]);
  }

  #person(frame) {
    const person = new Participant(frame, frame.participant === this.self);
    this.people.set(person.id, person);
    return person;
  }
}
