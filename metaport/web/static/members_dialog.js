import { closable } from "./dialogs.js";
import { avatar, element } from "./element.js";
import { language } from "./language.js";

/** Who is in the room, and who of them takes part in voice and video. */
export class MembersDialog {
  /** @param {import("/sdk/room.js").Room} room @param {() => string | undefined} self user id */
  constructor(room, self) {
    this.#room = room;
    this.#self = self;
    this.#dialog = document.getElementById("members");
    closable(this.#dialog);
    document.getElementById("members-open").addEventListener("click", () => {
      this.#draw();
      this.#dialog.showModal();
    });
    for (const source of [room, room.media]) {
      source.on(source === room ? "members" : "participant", () => this.#draw());
    }
    language.on("changed", () => this.#draw());
    this.#draw();
  }

  #room;
  #self;
  #dialog;

  #draw() {
    const count = this.#room.count ?? this.#room.members.size;
    const words = language.say("chat.membersOf", { n: language.number(count) });
    document.getElementById("members-count").textContent = words;
    document.getElementById("members-big").hidden = this.#room.members.size > 0 || count === 0;
    const inCall = new Set([...this.#room.media.participants.people.values()].map(({ user }) => user));
    const items = [...this.#room.members.values()].map((member) => this.#item(member, inCall));
    document.getElementById("members-list").replaceChildren(...items);
  }

  #item({ user, name }, inCall) {
    return element(
      "li",
      {},
      avatar(name, user),
      element("span", {}, name),
      user === this.#self() ? element("span.badge", {}, language.say("chat.me")) : null,
      inCall.has(user) ? element("span.in-call", {}, language.say("media.joined")) : null,
    );
  }
}
