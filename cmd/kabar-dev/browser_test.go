package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A browser is a headless Chromium with one page. It is driven over the DevTools protocol.
type browser struct {
	t    *testing.T
	conn *websocket.Conn
	last int
}

var browsers = []string{"chromium", "chromium-browser", "google-chrome"}

// browse opens a page. It skips the test when there is no browser.
func browse(t *testing.T, url string) *browser {
	t.Helper()
	program := ""
	for _, name := range browsers {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skipf("none of %v is installed, so that the page cannot be looked at", browsers)
	}
	profile, err := os.MkdirTemp("", "kabar-dev-browser-")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--headless", "--remote-debugging-port=0", "--user-data-dir=" + profile, "--window-size=1400,1000",
		// The window may never get the focus; its timers and drawing must not slow down for that.
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
		"--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium does not start without it
	}
	said := newConsole()
	cmd := exec.Command(program, append(args, "about:blank")...)
	cmd.Stderr, cmd.WaitDelay = said, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.RemoveAll(profile) // its other processes may still use some of the files
	})
	said.wait(t, "/devtools/browser/", 1)
	m := regexp.MustCompile(`DevTools listening on ws://([^/]+)/`).FindStringSubmatch(said.String())
	b := &browser{t: t}
	b.attach(m[1])
	for _, call := range []struct {
		method string
		params map[string]any
	}{
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": 1400, "height": 1000, "deviceScaleFactor": 1, "mobile": false}},
		{"Page.navigate", map[string]any{"url": url}},
	} {
		if _, err := b.call(t.Context(), call.method, call.params); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// attach opens a tab and connects to it.
func (b *browser) attach(address string) {
	b.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(b.t.Context(), "PUT", "http://"+address+"/json/new", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var tab struct {
		Address string `json:"webSocketDebuggerUrl"`
	}
	if err != nil || json.Unmarshal(body, &tab) != nil {
		b.t.Fatalf("a new tab: %s %v", body, err)
	}
	b.conn, _, err = websocket.Dial(b.t.Context(), tab.Address, &websocket.DialOptions{HTTPClient: &client})
	if err != nil {
		b.t.Fatal(err)
	}
	b.conn.SetReadLimit(32 << 20)
	b.t.Cleanup(func() { b.conn.CloseNow() })
}

// call calls a method of the DevTools protocol.
func (b *browser) call(ctx context.Context, method string, params map[string]any) (json.RawMessage, error) {
	b.last++
	request, err := json.Marshal(map[string]any{"id": b.last, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	if err := b.conn.Write(ctx, websocket.MessageText, request); err != nil {
		return nil, err
	}
	for {
		_, answer, err := b.conn.Read(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", method, err)
		}
		var a struct {
			ID     int
			Result json.RawMessage
			Error  json.RawMessage
		}
		switch err := json.Unmarshal(answer, &a); {
		case err != nil:
			return nil, err
		case a.ID != b.last: // an event
		case a.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, a.Error)
		default:
			return a.Result, nil
		}
	}
}

// run runs JavaScript in the page and waits for the promise that it returns, if any.
func (b *browser) run(script string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), waitTimeout)
	defer cancel()
	result, err := b.call(ctx, "Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true})
	if err != nil {
		b.t.Fatalf("%s\n%v", script, err)
	}
	var r struct{ ExceptionDetails json.RawMessage }
	if err := json.Unmarshal(result, &r); err != nil || r.ExceptionDetails != nil {
		b.t.Fatalf("%s\n%s %v", script, r.ExceptionDetails, err)
	}
}

// value returns the text that a JavaScript expression has in the page.
func (b *browser) value(expression string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), waitTimeout)
	defer cancel()
	raw, err := b.call(ctx, "Runtime.evaluate", map[string]any{"expression": expression})
	var r struct{ Result struct{ Value string } }
	if err != nil || json.Unmarshal(raw, &r) != nil || r.Result.Value == "" {
		b.t.Fatalf("%s: %s %v", expression, raw, err)
	}
	return r.Result.Value
}

// await waits until a JavaScript condition is true in the page.
func (b *browser) await(condition string) {
	b.t.Helper()
	most := (waitTimeout - 5*time.Second).Milliseconds()
	b.run(fmt.Sprintf(`new Promise((met, failed) => {
		const $ = (selector) => document.querySelector(selector);
		const text = (selector) => $(selector)?.textContent ?? "";
		const look = () => { if (%s) { clearInterval(timer); met(); } };
		const timer = setInterval(look, 20);
		setTimeout(() => { clearInterval(timer); failed(document.body.innerText); }, %d);
	})`, condition, most))
}

// write puts a text into the field that selector finds, and says so to the page. It does
// not type: Chromium drops what is typed while its window is not focused, which happens on
// a busy machine.
func (b *browser) write(selector, text string) {
	b.t.Helper()
	b.run(fmt.Sprintf(`{
		const field = document.querySelector(%q);
		field.value = %q;
		field.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertText" }));
	}`, selector, text))
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.run(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// picture saves a screenshot as an artifact of the test.
func (b *browser) picture(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	result, err := b.call(ctx, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true})
	var shot struct{ Data []byte }
	if err != nil || json.Unmarshal(result, &shot) != nil {
		b.t.Logf("no screenshot: %v", err)
		return
	}
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name), shot.Data, 0o644); err != nil {
		b.t.Log(err)
	}
}

// In TestChatInBrowser a buyer and a seller chat, and the test checks what both see.
func TestChatInBrowser(t *testing.T) {
	t.Parallel()
	g := launch(t, "--in-memory")
	b := browse(t, visit(t, g).url)
	defer b.picture("chat.png")
	b.await(`text("#buyer .state") === "online" && text("#seller .state") === "online"`)
	b.await(`document.documentElement.scrollWidth <= innerWidth`)

	// A message is shown at once, as the gateway has rendered it. HTML in it is not
	// executed.
	b.write("#buyer input[name=text]", `[b]masih[/b] ada? <img src=x onerror="hacked=1">`)
	b.click("#buyer form button")
	b.await(`text("#seller .theirs strong") === "masih" && text("#seller .theirs .body").includes("<img src=x")`)
	b.await(`text("#buyer .own footer").includes("sent") && !$(".messages img") && !window.hacked`)
	b.await(`text("#seller dd[data-name=messages]") === "1" && $("#seller .theirs.unread")`)

	// A message that is still unread after the grace period is pushed to the seller's
	// phones. The buyer's phones get no push.
	b.await(`[...document.querySelectorAll(".phone")].filter((phone) =>
		phone.querySelector("h3").textContent.includes("of 66") &&
		phone.querySelector(".lock").textContent.includes("Anda mendapatkan pesan dari Me Ow")).length === 2`)
	b.await(`text('.phone[data-platform="iOS"] .badge') === "2"`) // the welcome is unread, too
	b.await(`![...document.querySelectorAll(".phone")].some((phone) =>
		phone.querySelector("h3").textContent.includes("of 15") && phone.textContent.includes("pesan dari"))`)

	// The seller answers, and the buyer sees the typing indicator.
	b.run(`{ // it stays for a few seconds only
		const line = document.querySelector("#buyer .partner");
		new MutationObserver(() => { window.typed ||= line.textContent.includes("is typing"); })
			.observe(line, { childList: true, characterData: true, subtree: true });
	}`)
	b.run(`{ // frames of typing may be lost, so a typist sends several
		const field = document.querySelector("#seller input[name=text]");
		const typing = setInterval(() => {
			field.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertText" }));
			if (window.typed) clearInterval(typing);
		}, 100);
	}`)
	b.await(`window.typed`)
	b.write("#seller input[name=text]", "masih")
	b.click("#seller form button")
	b.await(`text("#buyer .theirs .body") === "masih" && text("#buyer .partner").includes("is online")`)

	// When the seller reads the message, the buyer is told and the counter goes to 0.
	b.click("#seller .read")
	b.await(`text("#buyer .own footer").includes("✓✓ read") && text("#seller dd[data-name=messages]") === "0"`)

	// The page can publish a sample although it does not have the service's key.
	b.run(`[...document.querySelectorAll("#publish button")].find((b) => b.textContent === "transaction").click()`)
	b.await(`text("#answer").startsWith("transaction: 202") && text("#seller-phones").includes("Transaksi baru dari Liem Lie Wie")`)
	b.await(`["hello", "send", "ack", "event", "typing", "read", "unreads", "presence"].every((op) => text("#log").includes('"op":"' + op + '"'))`)
	b.await(`!document.documentElement.outerHTML.includes("demo-key")`)

	// A message that is sent while the seller is offline arrives on resuming, once.
	b.click("#seller .line")
	b.await(`text("#seller .state") === "offline"`)
	b.write("#buyer input[name=text]", "oke")
	b.click("#buyer form button")
	b.await(`[...document.querySelectorAll("#buyer .own .body")].some((body) => body.textContent === "oke")`)
	b.click("#seller .line")
	b.await(`[...document.querySelectorAll("#seller .theirs .body")].filter((body) => body.textContent === "oke").length === 1`)
}

// In TestPhonesInBrowser the test looks at the phones beside their owners, and at the list of
// notifications.
func TestPhonesInBrowser(t *testing.T) {
	t.Parallel()
	g := launch(t, "--in-memory")
	b := browse(t, visit(t, g).url)
	defer b.picture("phones.png")
	b.await(`text("#buyer .state") === "online" && text("#seller .state") === "online"`)
	b.run(`{
		const names = (place) => [...document.querySelectorAll(place + " .phone h3")].map((h3) => h3.textContent).join();
		window.phones = () => [names("#buyer-phones"), names("#seller-phones"), names("#others")].join("; ");
	}`)
	b.await(`phones() === "Xiaomi Redmi Note 12 of 15 Me Ow; Samsung Galaxy A54 of 66 Testing Account,iPhone 15 of 66 Testing Account; ` +
		`iPhone SE of 52357 Liem Lie Wie"`)
	publish := func(sample string) {
		b.run(fmt.Sprintf(`[...document.querySelectorAll("#publish button")].find((b) => b.textContent === %q).click()`, sample))
		b.await(fmt.Sprintf(`text("#answer").startsWith("%s: 202")`, sample))
	}

	// A phone shows a picture, the channel or level, and the buttons.
	publish("flash")
	iPhone, galaxy, xiaomi := `#seller-phones [data-platform="iOS"] `, `#seller-phones [data-platform="Android"] `, `#buyer-phones [data-platform="Android"] `
	for _, phone := range []string{iPhone, galaxy, xiaomi} {
		b.await(fmt.Sprintf(`$('%s.lock img')?.naturalWidth === 640 && text('%[1]s.lock strong') === "Flash sale"`, phone))
	}
	b.await(fmt.Sprintf(`text('%s.channel') === "active · chime.caf" && text('%[1]s.subtitle') === "Hari ini saja"`, iPhone))
	b.await(fmt.Sprintf(`text('%s.channel') === "promo · chime"`, galaxy))
	b.await(fmt.Sprintf(`text('%s.channel') === "promo · chime · drawn by the app"`, xiaomi))
	publish("offer")
	b.await(fmt.Sprintf(`text('%s.lock li .buttons') === "acceptrejectOpen×" && text('%s.lock li .buttons') === "Open×"`, iPhone, galaxy))
	b.await(fmt.Sprintf(`text('%s.badge') === "3" && text('%s.badge') === "3"`, iPhone, galaxy))

	// The list has the same, and the read button marks one as read.
	b.await(`document.querySelectorAll("#seller .entries .unread").length === 3 && text("#seller .entries li p").startsWith("Anda mendapatkan")`)
	b.click("#seller .entries li button")
	b.await(`!$("#seller .entries li.unread:first-child") && text("#seller dd[data-name=unread_notifications]") === "2"`)

	// It leaves the phones, and the badge falls.
	for _, phone := range []string{iPhone, galaxy} {
		b.await(fmt.Sprintf(`!$('%s.lock li .buttons').textContent.includes("accept") && !text('%[1]s.lock').includes("Anda mendapatkan") && text('%[1]s.badge') === "2"`, phone))
	}

	// What is opened on a phone leaves its screen and those of others, and is read.
	b.run(fmt.Sprintf(`[...document.querySelectorAll('%s.lock li')].find((li) => li.textContent.includes("Flash sale")).
		querySelector('button[title^="https"]').click()`, galaxy))
	b.await(fmt.Sprintf(`text('%s.note') === "opened https://shop.example/flash" && !text('%[1]s.lock').includes("Flash sale")`, galaxy))
	b.await(`text("#seller dd[data-name=unread_notifications]") === "1"`)
	b.await(fmt.Sprintf(`!text('%s.lock').includes("Flash sale") && text('%[1]s.badge') === "1"`, iPhone))
	b.click("#seller .all")
	b.await(`!$("#seller .entries .unread") && $("#seller .all").disabled && text("#seller dd[data-name=unread_notifications]") === "0"`)

	// The Android phone then shows nothing. The iPhone has had its two background pushes of this
	// hour: its badge is gone, and the next push that it shows takes the rest down.
	b.await(fmt.Sprintf(`!$('%s.lock li') && text('%[1]s.badge') === "" && text('%s.badge') === ""`, galaxy, iPhone))
	for n, alone := 1, ""; alone != "true"; n++ { // a push that is sent before the dismissal is settled takes nothing down
		publish("discount")
		b.await(fmt.Sprintf(`text('%s.badge') === "%d"`, iPhone, n))
		alone = b.value(fmt.Sprintf(`String([...document.querySelectorAll('%s.lock li')].every((li) => li.textContent.includes("contoh diskon")))`, iPhone))
		if n == 5 && alone != "true" {
			t.Fatal("the iPhone still shows what was read")
		}
	}

	// A phone that another user registers moves to its new owner.
	b.run(`fetch("/v2/notifications/ios.json", { method: "POST", body: new URLSearchParams({ token: "demoiphone66", model: "iPhone 15" }),
		headers: { Authorization: "Basic " + btoa("15:tokenkeyiskmzwa8awaa") } })`)
	b.await(`phones() === "Xiaomi Redmi Note 12 of 15 Me Ow,iPhone 15 of 15 Me Ow; Samsung Galaxy A54 of 66 Testing Account; ` +
		`iPhone SE of 52357 Liem Lie Wie"`)

	// A phone takes down what the sandbox's phone takes down, and its badge falls.
	b.run(`import("/phones.js").then(({ Phones }) => {
		const place = document.createElement("div");
		place.id = "drill";
		document.body.append(place);
		const phone = new Phones(place).phone({ id: "7", name: "iPhone", platform: "iOS" }, "7 Somebody");
		const show = (number, shade, rest) => phone.show({ number, shade, at: "12:00:00", look: { buttons: [] }, facts: [], ...rest });
		show(1, [1], { title: "first", badge: 1 });
		show(2, [1, 2], { title: "second", badge: 2 });
		show(3, [1, 2], { silent: true, badge: 1 });
		window.badge = document.querySelector("#drill .badge").textContent + " " + document.querySelector("#drill .note").textContent;
		show(4, [2], { silent: true });
	})`)
	b.await(`window.badge === "1 12:00:00 the badge alone" && text("#drill .badge") === "1"`)
	b.await(`document.querySelectorAll("#drill .lock li").length === 1 && text("#drill .lock strong") === "second"`)
	b.await(`text("#drill .note") === "12:00:00 took down what was read elsewhere: 1"`)
}
