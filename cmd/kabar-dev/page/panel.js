// One person's side of the conversation.
import { List } from "./list.js";
import { safe } from "./safe.js";
import { Socket } from "./socket.js";

const typingFor = 4000; // ms that "is typing" stays
const typingEvery = 2000; // ms between two frames that say so
const watchEvery = 5 * 60 * 1000; // ms between two questions whether the partner is there

export class Panel {
  constructor(place, role, person, partner, log) {
    Object.assign(this, { place, role, person, partner });
    this.messages = new Map(); // from ids to {view, element}
    this.typed = 0;
    this.readUpTo = ""; // the newest message that the partner has read
    place.append(document.getElementById("panel").content.cloneNode(true));
    const find = (selector) => place.querySelector(selector);
    this.list = find(".messages");
    this.partnerLine = find(".partner");
    this.looking = find(".looking");
    this.form = find("form");
    this.form.text.id = `${place.id}-text`;
    find(".hidden").htmlFor = this.form.text.id;
    find("h2").textContent = `${role}: ${person.name} (${person.id})`;
    this.socket = new Socket(person, {
      seen: (frame) => this.seen(frame),
      state: (state) => this.showState(state),
      note: (direction, text) => log.add(role, direction, text),
    });
    this.notifications = new List(place, person, (text) => log.add(role, "note", text));
    this.listen(find);
  }

  listen(find) {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.say(this.form.text.value);
    });
    this.form.text.addEventListener("input", () => this.typing());
    find(".read").addEventListener("click", () => this.read());
    this.looking.addEventListener("change", () => this.looking.checked && this.read());
    find(".line").addEventListener("click", () => {
      if (this.socket.wanted) this.socket.close();
      else this.socket.open();
    });
    setInterval(() => this.watch(), watchEvery);
  }

  open() {
    this.socket.open();
  }

  // seen acts on a frame from the server.
  seen(frame) {
    switch (frame.op) {
      case "hello":
        this.showUnreads(frame.unreads);
        this.load();
        this.notifications.load();
        break;
      case "unreads":
        this.showUnreads(frame.unreads);
        this.notifications.load(); // something may have been read elsewhere
        break;
      case "event":
        if (frame.instant_message) this.arrived(frame.instant_message);
        else this.notifications.load();
        break;
      case "resync":
        this.load();
        this.notifications.load();
        break;
      case "read":
        if (this.about(frame)) this.receipt(frame.message_id);
        break;
      case "typing":
        if (this.about(frame)) this.showTyping();
        break;
      case "presence":
        if (this.about(frame)) this.showPresence(frame);
        break;
    }
  }

  about(frame) {
    return frame.conversation_id === this.conversation && frame.user_id === String(this.partner.id);
  }

  // load fetches the conversation, and leaves unread what is.
  async load() {
    try {
      if (!this.conversation) {
        const { inbox } = await this.socket.get("/messages.json?per_page=100");
        const known = inbox.find((entry) => entry.partner_id === String(this.partner.id));
        this.conversation ||= known?.id; // a message may have begun it meanwhile
      }
      if (!this.conversation) return;
      const path = `/messages/${this.conversation}.json?keep_unread=1&per_page=50`;
      const { instant_messages: views } = await this.socket.get(path);
      for (const view of views.reverse()) this.show(view);
      this.watch();
    } catch (problem) {
      this.socket.note("note", String(problem));
    }
  }

  // watch asks whether the partner is there, and to be told of changes.
  watch() {
    if (this.conversation && this.socket.socket) {
      this.socket.send({ op: "presence", conversation_id: this.conversation });
    }
  }

  async say(text) {
    if (!text.trim()) return;
    const answer = await this.socket.send({
      op: "send",
      instant_message: {
        receiver_id: String(this.partner.id), category: "0", body_bb: text, client_id: randomID(),
      },
    });
    if (answer.op !== "ack") {
      this.partnerLine.textContent = `Not sent: ${answer.message}`;
      return;
    }
    this.form.reset();
    this.meet(answer.conversation_id);
    const { instant_message: view } = await this.socket.get(`/messages/im/${answer.id}.json`);
    this.show(view);
  }

  // meet notes the conversation when it begins.
  meet(conversation) {
    if (this.conversation) return;
    this.conversation = conversation;
    this.watch();
  }

  arrived(view) {
    if (![view.sender_id, view.receiver_id].includes(String(this.partner.id))) return;
    this.meet(view.inbox_id);
    this.show(view);
    this.showPresence({ online: true });
    if (this.looking.checked) this.read();
  }

  async read() {
    if (!this.conversation) return;
    const answer = await this.socket.send({ op: "read", conversation_id: this.conversation });
    if (answer.op === "ack") this.mark(String(this.person.id), () => true);
  }

  // receipt marks what the partner has read, up to a message.
  receipt(upTo) {
    if (upTo > this.readUpTo) this.readUpTo = upTo;
    this.mark(String(this.partner.id), (id) => id <= upTo);
  }

  // mark shows as read what somebody received.
  mark(receiver, wanted) {
    for (const [id, message] of this.messages) {
      if (message.view.receiver_id === receiver && wanted(id)) {
        message.view.read = true;
        this.dress(message);
      }
    }
  }

  // show puts a message in its place: ids are in the order of time.
  show(view) {
    const known = this.messages.get(view.id);
    if (known) {
      known.view.read ||= view.read;
      this.dress(known);
      return;
    }
    const element = document.createElement("li");
    const body = document.createElement("div");
    body.className = "body";
    body.append(safe(view.body));
    const foot = document.createElement("footer");
    element.append(body, foot);
    const message = { view, element };
    if (view.receiver_id === String(this.partner.id)) view.read ||= view.id <= this.readUpTo;
    this.messages.set(view.id, message);
    this.dress(message);
    const later = [...this.messages.values()].filter((other) => other.view.id > view.id)
      .sort((a, b) => (a.view.id < b.view.id ? -1 : 1))[0];
    this.list.insertBefore(element, later ? later.element : null);
    this.list.scrollTop = this.list.scrollHeight;
  }

  dress({ view, element }) {
    const own = view.sender_id === String(this.person.id);
    const time = view.created_at.slice(11, 16);
    const state = own ? (view.read ? "✓✓ read" : "✓ sent") : (view.read ? "" : "unread");
    element.className = own ? "own" : "theirs";
    element.classList.toggle("unread", !own && !view.read);
    element.lastChild.textContent = `${own ? "You" : view.sender_name}, ${time} ${state}`;
  }

  showState(state) {
    const place = this.place.querySelector(".state");
    place.textContent = state;
    place.dataset.state = state;
    this.place.querySelector(".line").textContent = state === "offline" ? "Go online" : "Go offline";
  }

  showUnreads(unreads) {
    const list = this.place.querySelector(".unreads");
    list.replaceChildren();
    for (const [name, number] of Object.entries(unreads)) {
      const term = document.createElement("dt");
      term.textContent = name.replaceAll("_", " ");
      const value = document.createElement("dd");
      value.textContent = number;
      value.dataset.name = name;
      const pair = document.createElement("div");
      pair.classList.toggle("some", number > 0);
      pair.append(term, value);
      list.append(pair);
    }
  }

  showPresence({ online, last_seen: lastSeen }) {
    clearTimeout(this.timer);
    const seen = lastSeen ? `, last seen ${lastSeen.slice(11, 19)}` : "";
    this.presence = `${this.partner.name} is ${online ? "online" : "offline" + seen}`;
    this.partnerLine.textContent = this.presence;
  }

  showTyping() {
    clearTimeout(this.timer);
    this.partnerLine.textContent = `${this.partner.name} is typing …`;
    this.timer = setTimeout(() => { this.partnerLine.textContent = this.presence ?? ""; }, typingFor);
  }

  typing() {
    if (!this.conversation || Date.now() - this.typed < typingEvery) return;
    this.typed = Date.now();
    this.socket.send({ op: "typing", conversation_id: this.conversation });
  }
}

// randomID makes a message's client_id; crypto.randomUUID is not there on every host.
function randomID() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");
}
