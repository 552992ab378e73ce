package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
)

// site serves an empty page, and is an origin of its own.
func site(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>a site</title>")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// asPage has functions for a page that uses the gateway at %q by itself.
const asPage = `
	const gateway = %q;
	const sign = (user) => ({ Authorization: "Basic " + btoa(user) });
	const seller = sign("66:tok3ntok3n"), buyer = sign("15:tokenkeyiskmzwa8awaa");
	const call = (method, path, headers, body) => fetch(gateway + path, { method, headers, body });
	const want = (what, is) => { if (!is) throw new Error(what); };
	const ticket = async (user) => (await (await call("POST", "/v2/live/ticket.json", user)).json()).ticket;
	const open = (ticket) => {
		const socket = new WebSocket(gateway.replace("http", "ws") + "/v2/live?ticket=" + ticket, "kabar.v1");
		const frames = [], waiting = [];
		let ended = null;
		const look = () => waiting.forEach((w) => {
			const found = frames.find(w.is);
			if (found) w.met(found); else if (ended) w.failed(new Error("closed with " + ended.code));
		});
		socket.onmessage = (m) => { frames.push(JSON.parse(m.data)); look(); };
		socket.onclose = (e) => { ended = e; look(); };
		return { send: (f) => socket.send(JSON.stringify(f)), next: (is) => new Promise((met, failed) => { waiting.push({ is, met, failed }); look(); }) };
	};
	const hello = (f) => f.op === "hello";
`

// In TestChatFromAnotherOrigin a page on another host chats, since its origin is allowed. A
// page of an origin that is not allowed can do nothing, and spends no ticket.
func TestChatFromAnotherOrigin(t *testing.T) {
	t.Parallel()
	shop, evil := site(t), site(t)
	g := launch(t, "--in-memory", "--origin", shop)
	m := regexp.MustCompile(`gateway    (http://\S+)`).FindStringSubmatch(g.out.String())
	if m == nil {
		t.Fatalf("no gateway is printed:\n%s", g.out)
	}
	functions := fmt.Sprintf(asPage, m[1])

	b, other := browse(t, shop), browse(t, evil)
	b.await(`document.title === "a site"`)
	other.await(`document.title === "a site"`) // before the ticket is issued, which expires
	b.run(`(async () => {` + functions + `
		const unreads = await call("GET", "/v2/notifications/unreads.json", seller);
		want("the numbers", unreads.status === 200 && (await unreads.json()).messages === 0);
		want("the ETag", unreads.headers.get("ETag"));
		want("304", (await call("GET", "/v2/notifications/unreads.json", { ...seller, "If-None-Match": unreads.headers.get("ETag") })).status === 304);
		want("PATCH", (await call("PATCH", "/v2/notifications.json", seller)).status === 200);

		// The page can read why a request fails.
		const refused = await call("GET", "/v2/notifications/unreads.json", sign("66:wrong"));
		want("401", refused.status === 401 && (await refused.json()).code === "unauthorized");
		const wrong = await call("PATCH", "/v2/messages.json", seller);
		want("405", wrong.status === 405 && wrong.headers.get("Allow").includes("POST"));
		let locked = refused;
		for (let i = 0; i < 50 && locked.status === 401; i++) locked = await call("GET", "/v2/notifications/unreads.json", sign("52357:wrong"));
		want("429", locked.status === 429 && locked.headers.get("Retry-After") && (await locked.json()).code === "rate_limited");

		const mine = open(await ticket(buyer)), theirs = open(await ticket(seller));
		await Promise.all([mine.next(hello), theirs.next(hello)]);
		mine.send({ op: "send", ref: "r", instant_message: { receiver_id: "66", category: "0", body_bb: "halo dari toko", client_id: "c-1" } });
		want("ack", (await mine.next((f) => f.ref === "r")).op === "ack");
		const event = await theirs.next((f) => f.op === "event");
		want("the message", JSON.stringify(event).includes("halo dari toko"));
		window.kept = await ticket(seller); // for the other page
	})()`)

	kept := b.value(`window.kept`)
	other.run(`(async () => {` + functions + `
		let sent = true;
		await call("GET", "/v2/notifications/unreads.json", seller).catch(() => { sent = false; });
		want("the request is refused", !sent);
		let opened = true;
		await open("` + kept + `").next(hello).catch(() => { opened = false; });
		want("the socket is refused", !opened);
	})()`)
	b.run(`(async () => {` + functions + `await open("` + kept + `").next(hello); })()`)
	g.err.wait(t, evil, 1) // the log says whose page was refused
}
