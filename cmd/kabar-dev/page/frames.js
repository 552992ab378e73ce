// A log of frames, as they went over the sockets.
const most = 400;

export class FrameLog {
  constructor(list, follow, clear) {
    this.list = list;
    this.follow = follow;
    clear.addEventListener("click", () => list.replaceChildren());
  }

  // add notes a frame; direction is "to" the server or "from" it, or "note".
  add(who, direction, text) {
    const item = document.createElement("li");
    item.className = `${who.toLowerCase()} ${direction}`;
    const time = new Date().toTimeString().slice(0, 8);
    const arrow = { to: "→", from: "←", note: "·" }[direction];
    const head = document.createElement("span");
    head.textContent = `${time} ${who} ${arrow} `;
    const frame = document.createElement("code");
    frame.textContent = text;
    item.append(head, frame);
    this.list.append(item);
    while (this.list.children.length > most) this.list.firstChild.remove();
    if (this.follow.checked) this.list.scrollTop = this.list.scrollHeight;
  }
}
