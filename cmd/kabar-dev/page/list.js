// A person's list of notifications.
import { ask } from "./api.js";

const path = "/notifications/list.json?per_page=20&type=" +
  "transaction,nego,dompet,report,discount,category,profile,product,announcement,campaign,broadcast";

export class List {
  // note is called with what went wrong.
  constructor(place, person, note) {
    Object.assign(this, { person, note });
    this.list = place.querySelector(".entries");
    this.all = place.querySelector(".all");
    this.all.addEventListener("click", () => this.mark("/notifications.json"));
  }

  // load fetches the list. While a request is under way, more calls cause one more.
  async load() {
    if (this.loading) {
      this.again = true;
      return;
    }
    this.loading = true;
    try {
      do {
        this.again = false;
        const { data } = await ask(this.person, path);
        this.list.replaceChildren(...data.map((entry) => this.entry(entry)));
        this.all.disabled = data.every((entry) => entry.read_state);
      } while (this.again);
    } catch (problem) {
      this.note(String(problem));
    } finally {
      this.loading = false;
    }
  }

  entry({ id, created_at: at, read_state: read, type, title, message }) {
    const item = document.createElement("li");
    item.classList.toggle("unread", !read);
    item.dataset.type = type;
    const text = document.createElement("div");
    const head = document.createElement("strong");
    head.textContent = title ?? "";
    const body = document.createElement("p");
    body.textContent = message;
    const foot = document.createElement("footer");
    foot.textContent = `${type}, ${at.slice(11, 16)}`;
    text.append(head, body, foot);
    item.append(text);
    if (!read) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Read";
      button.title = "Mark as read";
      button.addEventListener("click", () => this.mark(`/notifications/${id}.json`));
      item.append(button);
    }
    return item;
  }

  // mark marks as read what a path names. The list is loaded anew when the socket tells the
  // new numbers, and here, since there may be no socket.
  async mark(named) {
    try {
      await ask(this.person, named, { method: "PATCH" });
    } catch (problem) {
      this.note(String(problem));
    }
    this.load();
  }
}
