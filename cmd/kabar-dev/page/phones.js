// The phones that the sandbox plays: a lock screen and an app's badge each.
const most = 5; // entries on a lock screen

export class Phones {
  constructor(place) {
    this.place = place;
    this.phones = new Map();
  }

  // add shows the phones of a person of the setup.
  add(person) {
    for (const phone of person.phones) this.phone(phone, `${person.id} ${person.name}`);
  }

  // phone returns the phone, which is put up when it is new.
  phone(view, owner) {
    if (this.phones.has(view.id)) return this.phones.get(view.id);
    const phone = new Phone(view, owner);
    this.phones.set(view.id, phone);
    this.place.append(phone.element);
    return phone;
  }

  // follow shows the pushes of a stream, and calls also with each; the browser comes back by
  // itself when it ends.
  follow(url, also) {
    new EventSource(url).addEventListener("message", (event) => {
      const push = JSON.parse(event.data);
      if (push.phone) this.phone(push.phone, push.owner || "nobody").show(push);
      also(push);
    });
  }
}

class Phone {
  constructor(view, owner) {
    this.element = document.getElementById("phone").content.cloneNode(true).firstElementChild;
    this.element.dataset.platform = view.platform;
    this.lock = this.element.querySelector(".lock");
    this.badge = this.element.querySelector(".badge");
    this.note = this.element.querySelector(".note");
    this.android = view.platform === "Android";
    this.element.querySelector("h3").textContent = `${view.name} of ${owner}`;
    this.element.querySelector(".clear").addEventListener("click", () => {
      this.lock.replaceChildren();
      this.count();
    });
    this.count();
  }

  show(push) {
    this.note.textContent = "";
    if (push.problem) {
      this.note.textContent = `${push.at} did not arrive: ${push.problem}`;
    } else if (push.silent) {
      this.note.textContent = `${push.at} data for the app alone`;
    } else {
      this.ring(push);
    }
    if (!push.problem) this.count(push.badge);
  }

  // ring puts an entry on top of the lock screen, in place of the one with its tag.
  ring(push) {
    for (const entry of [...this.lock.children]) {
      if (push.tag && entry.dataset.tag === push.tag) entry.remove();
    }
    const entry = document.createElement("li");
    entry.dataset.tag = push.tag;
    const time = document.createElement("time");
    time.textContent = push.at;
    const title = document.createElement("strong");
    title.textContent = push.title;
    const body = document.createElement("p");
    body.textContent = push.body;
    const facts = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = push.provider;
    facts.append(summary);
    for (const fact of push.facts) {
      const line = document.createElement("p");
      line.textContent = `${fact.name}: ${fact.value}`;
      facts.append(line);
    }
    entry.append(time, title, body, facts);
    this.lock.prepend(entry);
    while (this.lock.children.length > most) this.lock.lastChild.remove();
  }

  // count sets the badge: on iOS what the push says, on Android, as launchers have
  // it, what lies on the lock screen.
  count(badge) {
    if (this.android) badge = this.lock.children.length;
    if (badge === undefined) return;
    this.badge.textContent = badge || "";
    this.badge.title = `badge ${badge}`;
  }
}
