// A live socket of one person, kabar.v1: opened with a ticket, since a browser
// cannot sign in at a handshake, and opened again after an end that asks for it.
import { ask } from "./api.js";

const firstDelay = 500;
const mostDelay = 15000; // ms
const stay = 4001; // not signed in any more: do not come back

export class Socket {
  // seen is called with each frame, state with "online", "connecting" or "offline",
  // note with each frame's text and its direction.
  constructor(person, { seen, state, note }) {
    Object.assign(this, { person, seen, state, note });
    this.delay = firstDelay;
    this.references = 0;
    this.turn = 0; // counts openings and closings, so that an old one is known as such
    this.waiting = new Map(); // from references to those who await the answer
  }

  // get answers with the JSON of a path below /v2.
  get(path, init) {
    return ask(this.person, path, init);
  }

  async open() {
    this.wanted = true;
    const turn = ++this.turn;
    this.state("connecting");
    try {
      const { ticket } = await this.get("/live/ticket.json", { method: "POST" });
      if (turn !== this.turn) return;
      const url = new URL("/v2/live", location.href);
      url.protocol = url.protocol.replace("http", "ws");
      url.searchParams.set("ticket", ticket);
      if (this.seq) url.searchParams.set("since", this.seq);
      this.listen(new WebSocket(url, "kabar.v1"));
    } catch (problem) {
      this.note("note", String(problem));
      if (turn === this.turn) this.again();
    }
  }

  listen(socket) {
    this.socket = socket;
    socket.addEventListener("message", ({ data }) => {
      if (this.socket !== socket) return;
      this.note("from", data);
      this.take(JSON.parse(data));
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.note("note", `closed with ${code} ${reason}`);
      if (this.socket !== socket) return;
      this.part();
      if (code !== stay) this.again();
      else this.close();
    });
  }

  // part forgets the socket, and tells those who await an answer.
  part() {
    this.socket = null;
    for (const failed of this.waiting.values()) failed({ op: "error", message: "the socket was closed" });
    this.waiting.clear();
  }

  take(frame) {
    if (frame.op === "hello") {
      this.delay = firstDelay;
      this.state("online");
    }
    if (frame.seq) this.seq = frame.seq;
    const answered = this.waiting.get(frame.ref);
    if (answered) {
      this.waiting.delete(frame.ref);
      answered(frame);
    }
    this.seen(frame);
  }

  // again opens the socket later, at a time that not everybody chooses.
  again() {
    this.state("connecting");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), this.delay * (0.5 + Math.random()));
    this.delay = Math.min(this.delay * 2, mostDelay);
  }

  close() {
    this.wanted = false;
    this.turn++;
    clearTimeout(this.timer);
    this.socket?.close(1000);
    this.part();
    this.state("offline");
  }

  // send sends a frame and promises its answer.
  send(frame) {
    if (this.socket?.readyState !== WebSocket.OPEN) {
      this.note("note", `not connected: ${frame.op} was not sent`);
      return Promise.resolve({ op: "error", message: "offline" });
    }
    const ref = `r${++this.references}`;
    const text = JSON.stringify({ op: frame.op, ref, ...frame });
    const answer = new Promise((resolve) => this.waiting.set(ref, resolve));
    this.note("to", text);
    this.socket.send(text);
    return answer;
  }
}
