// The page: two people, their phones, and what goes over the wires.
import { Browser } from "./browser.js";
import { FrameLog } from "./frames.js";
import { Panel } from "./panel.js";
import { Phones } from "./phones.js";

const byID = (id) => document.getElementById(id);

const setup = await (await fetch("setup.json")).json();
if (setup.faults.length > 0) byID("faults").textContent = `The fake providers misbehave: ${setup.faults.join(", ")}`;
const log = new FrameLog(byID("log"), byID("follow"), byID("clear"));
const phones = new Phones(byID("others"));
phones.add(setup.buyer, byID("buyer-phones"));
phones.add(setup.seller, byID("seller-phones"));
const browsers = [];
phones.follow("pushes", (push) => browsers.forEach((browser) => browser.show(push)));

new Panel(byID("buyer"), "Buyer", setup.buyer, setup.seller, log).open();
new Panel(byID("seller"), "Seller", setup.seller, setup.buyer, log).open();

for (const name of setup.samples) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.addEventListener("click", () => publish(name));
  byID("publish").append(button);
}

for (const person of [setup.buyer, setup.seller]) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `of ${person.name}`;
  browsers.push(new Browser(button, person, (text) => (byID("answer").textContent = text)));
  byID("browsers").append(button);
}

// publish has the page's server publish a sample, with its own key.
async function publish(name) {
  const answer = byID("answer");
  try {
    const response = await fetch(`publish/${encodeURIComponent(name)}`, { method: "POST" });
    answer.textContent = `${name}: ${response.status} ${await response.text()}`;
  } catch {
    answer.textContent = `${name}: the playground does not answer`;
  }
}
