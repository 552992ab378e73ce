// Adds this browser to a user's devices, as a page of your own would, but that the
// subscription is one of the sandbox's push service: all pushes stay on this machine.
const path = "/v2/notifications/web.json";

export class Browser {
  constructor(button, person, say) {
    Object.assign(this, { button, person, say });
    this.own = new Set(); // the ids of its subscriptions on the page
    button.addEventListener("click", () => this.add().catch((error) => say(`the browser was not added: ${error.message}`)));
  }

  // add asks for permission, subscribes, and registers the subscription with the gateway.
  async add() {
    this.button.disabled = true;
    try {
      if ("serviceWorker" in navigator) {
        await navigator.serviceWorker.register("sw.js");
        this.worker = await navigator.serviceWorker.ready;
      }
      if ("Notification" in window) await Notification.requestPermission();
      const { public_key } = await this.call("GET");
      const subscription = await this.subscribe(public_key);
      const { message } = await this.call("POST", { ...subscription, model: "This browser" });
      this.say(message);
    } finally {
      this.button.disabled = false;
    }
  }

  // subscribe takes the place of registration.pushManager.subscribe({
  //   userVisibleOnly: true, applicationServerKey: key }).
  async subscribe(key) {
    const response = await fetch("browser", { method: "POST", body: key });
    if (!response.ok) throw new Error(await response.text());
    const subscription = await response.json();
    this.own.add(await phoneID(subscription.endpoint));
    return subscription;
  }

  // call asks the gateway as the person.
  async call(method, body) {
    const headers = { Authorization: `Basic ${btoa(`${this.person.id}:${this.person.token}`)}` };
    if (body) headers["Content-Type"] = "application/json";
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.message);
    return answer;
  }

  // show hands a push to the service worker if it is for this browser and notifications are
  // permitted.
  show(push) {
    if (push.problem || !this.own.has(push.phone.id) || !this.worker?.active) return;
    if (Notification.permission !== "granted") return;
    const { title, body, tag, badge } = push;
    this.worker.active.postMessage({ title, body, tag, badge, data: {} });
  }
}

// phoneID returns the id that the page's server gives a subscription.
async function phoneID(endpoint) {
  const sum = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`browser ${endpoint}`));
  return [...new Uint8Array(sum, 0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
