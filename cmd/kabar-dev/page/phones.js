// The phones that the sandbox plays: a lock screen and an app's badge each.
import { ask } from "./api.js";

export class Phones {
  // others is the place for the phones of those who are not on the page.
  constructor(others) {
    this.others = others;
    this.phones = new Map();
    this.people = new Map(); // from ids to {person, place}
  }

  // add shows the phones of a person of the setup in a place.
  add(person, place) {
    this.people.set(String(person.id), { person, place });
    for (const phone of person.phones) this.phone(phone, `${person.id} ${person.name}`);
  }

  // phone returns the phone, which is put up when it is new, beside its owner.
  phone(view, owner) {
    let phone = this.phones.get(view.id);
    if (!phone) {
      phone = new Phone(view);
      this.phones.set(view.id, phone);
    }
    const { person, place } = this.people.get(owner.split(" ")[0]) ?? { place: this.others };
    phone.belong(owner, person);
    if (phone.element.parentNode !== place) place.append(phone.element);
    return phone;
  }

  // follow shows the pushes of a stream, and calls also with each; the browser comes back by
  // itself when it ends.
  follow(url, also) {
    new EventSource(url).addEventListener("message", (event) => {
      const push = { ...JSON.parse(event.data), number: Number(event.lastEventId) };
      if (push.phone) this.phone(push.phone, push.owner || "nobody").show(push);
      also(push);
    });
  }
}

class Phone {
  constructor(view) {
    this.element = document.getElementById("phone").content.cloneNode(true).firstElementChild;
    this.element.dataset.platform = view.platform;
    this.name = view.name;
    this.android = view.platform === "Android";
    this.lock = this.element.querySelector(".lock");
    this.badge = this.element.querySelector(".badge");
    this.note = this.element.querySelector(".note");
    this.entries = new Map(); // from the numbers of pushes to {push, element}, the oldest first
    this.element.querySelector(".clear").addEventListener("click", () => this.tell("dismissed", [...this.entries.keys()]));
    this.count();
  }

  // belong sets the owner. The person is undefined for those who are not on the page.
  belong(owner, person) {
    this.person = person;
    this.element.querySelector("h3").textContent = `${this.name} of ${owner}`;
  }

  // show shows what the sandbox's phone has on its screen after a push.
  show(push) {
    if (push.problem) {
      this.note.textContent = `${push.at} did not arrive: ${push.problem}`;
      return;
    }
    this.note.textContent = "";
    const shade = new Set(push.shade);
    const gone = [...this.entries.keys()].filter((number) => !shade.has(number));
    for (const number of gone) this.entries.delete(number);
    if (!push.silent) {
      this.entries.set(push.number, { push, element: this.draw(push) });
    } else if (gone.length > 0) {
      this.note.textContent = `${push.at} took down what was read elsewhere: ${gone.length}`;
    } else {
      this.note.textContent = push.badge === undefined ? `${push.at} data for the app alone` : `${push.at} the badge alone`;
    }
    this.arrange();
    this.count(push.badge);
  }

  arrange() {
    this.lock.replaceChildren(...[...this.entries.values()].reverse().map(({ element }) => element));
  }

  // draw draws the entry of a push.
  draw({ number, at, title, body, tag, look, facts }) {
    const entry = document.createElement("li");
    entry.dataset.tag = tag;
    const add = (name, text, kind = "") => {
      if (!text) return;
      const element = document.createElement(name);
      element.className = kind;
      element.textContent = text;
      entry.append(element);
    };
    add("time", at);
    add("span", [look.channel || look.level, look.sound === "default" ? "" : look.sound, look.by_app && "drawn by the app"]
      .filter(Boolean).join(" · "), "channel");
    add("strong", title);
    add("p", look.subtitle, "subtitle");
    add("p", body);
    if (look.image) entry.append(picture(look.image));
    entry.append(this.buttons(number, look), details(facts));
    return entry;
  }

  // buttons are those of the app, and what a person does with the entry.
  buttons(number, look) {
    const row = document.createElement("div");
    row.className = "buttons";
    const add = (text, does, title) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.title = title;
      button.addEventListener("click", does);
      row.append(button);
    };
    for (const name of look.buttons) {
      add(name, () => this.tell("opened", [number], `pressed ${name}`), "A button of the app");
    }
    add("Open", () => this.tell("opened", [number], `opened ${look.link || "the app"}`), look.link || "Open the app");
    add("×", () => this.tell("dismissed", [number]), "Swipe away");
    return row;
  }

  // tell takes entries off the screen, and says so to the gateway as the app would.
  async tell(event, numbers, note = "") {
    const at = new Date().toISOString();
    const receipts = [];
    for (const number of numbers) {
      const id = this.entries.get(number)?.push.look.notification_id;
      if (id) receipts.push({ notification_id: id, event, at });
      this.entries.delete(number);
    }
    this.note.textContent = note;
    this.arrange();
    this.count();
    if (!this.person || receipts.length === 0) return;
    try {
      const headers = { "Content-Type": "application/json" };
      await ask(this.person, "/notifications/receipts.json", { method: "POST", headers, body: JSON.stringify({ receipts }) });
    } catch (problem) {
      this.note.textContent = String(problem);
    }
  }

  // count sets the badge: on iOS what the push says, on Android, as launchers have
  // it, what lies on the lock screen.
  count(badge) {
    if (this.android) badge = this.entries.size;
    if (badge === undefined) return;
    this.badge.textContent = badge || "";
    this.badge.title = `badge ${badge}`;
  }
}

// picture shows an image, or its address when it cannot be had.
function picture(address) {
  const image = document.createElement("img");
  image.alt = `picture ${address}`;
  image.src = address;
  return image;
}

function details(facts) {
  const element = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "The push";
  element.append(summary);
  for (const fact of facts) {
    const line = document.createElement("p");
    line.textContent = `${fact.name}: ${fact.value}`;
    element.append(line);
  }
  return element;
}
