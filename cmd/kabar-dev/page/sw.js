// The service worker: shows the pushes that come while no page is open. A page of your own
// needs nothing else; see docs/notifications.md.
self.addEventListener("push", (event) => event.waitUntil(show(event.data.json())));

// The sandbox's push service cannot wake a real browser: the page hands over what arrived.
self.addEventListener("message", (event) => event.waitUntil(show(event.data)));

// show shows a push in place of the notification with its tag. Every push must show one, or
// browsers end the subscription.
async function show(push) {
  if (self.navigator.setAppBadge && push.badge !== undefined) await self.navigator.setAppBadge(push.badge).catch(() => {});
  await self.registration.showNotification(push.title || "Kabar", {
    body: push.body, tag: push.tag, renotify: true, icon: "icon.svg", data: push.data,
  });
}

// A click goes to the page, in the window that shows it already if there is one.
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open());
});

async function open() {
  const [page] = await self.clients.matchAll({ type: "window" });
  if (page) return page.focus();
  return self.clients.openWindow("./");
}
