package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A browser that the page adds gets pushes like a phone; through the service worker they
// become notifications of a real browser.
func TestNotificationsInBrowser(t *testing.T) {
	t.Parallel()
	g := launch(t, "--in-memory")
	v := visit(t, g)
	b := browse(t, v.url)
	defer b.picture("notifications.png")
	if _, err := b.call(t.Context(), "Browser.grantPermissions", map[string]any{"origin": v.url, "permissions": []string{"notifications"}}); err != nil {
		t.Fatal(err)
	}
	b.await(`text("#seller .state") === "online"`)
	b.run(`[...document.querySelectorAll("#browsers button")].find((b) => b.textContent === "of Testing Account").click()`)
	b.await(`text("#answer") === "Device added"`)
	b.run(`navigator.serviceWorker.ready.then((worker) => setInterval(async () => {
		window.shown = (await worker.getNotifications()).map((n) => n.tag + " " + n.body);
	}, 100))`)
	publish := `[...document.querySelectorAll("#publish button")].find((b) => b.textContent === "transaction").click()`
	for range 2 { // the second one takes the place of the first
		b.run(publish)
		b.await(`text("#answer").startsWith("transaction: 202")`)
		b.run(`document.querySelector("#answer").textContent = ""`)
	}
	b.await(`[...document.querySelectorAll(".phone")].some((phone) => phone.dataset.platform === "browser" &&
		phone.querySelector("h3").textContent === "This browser of 66 Testing Account" &&
		phone.querySelector(".lock").textContent.includes("Transaksi baru dari Liem Lie Wie"))`)
	b.await(`window.shown?.length === 1 && window.shown[0] === "transaction:52001 Transaksi baru dari Liem Lie Wie"`)
}

// The page's server subscribes browsers with the gateway's key alone, and another run removes
// what this one leaves.
func TestBrowsersOfThePage(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	g := launch(t, "--data", folder)
	v := visit(t, g)
	ask := func(method, path, body string) (status int, answer string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, v.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("66", "tok3ntok3n")
		req.Header.Set("Content-Type", "application/json")
		resp, err := v.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var text strings.Builder
		if _, err := io.Copy(&text, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, text.String()
	}
	if status, _ := ask("POST", "/browser", "no key"); status != http.StatusBadRequest {
		t.Errorf("a bad key: %d", status)
	}
	const path = "/v2/notifications/web.json"
	var key struct {
		PublicKey string `json:"public_key"`
	}
	if _, answer := ask("GET", path, ""); json.Unmarshal([]byte(answer), &key) != nil || key.PublicKey == "" {
		t.Fatalf("no key in %s", answer)
	}
	_, subscription := ask("POST", "/browser", key.PublicKey)
	if status, answer := ask("POST", path, subscription); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	if status, answer := v.answer("POST", "/publish/transaction"); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	g.out.wait(t, "phone (browser) of 66 Testing Account", 1)
	g.stop(t)
	again := launch(t, "--data", folder)
	v = visit(t, again)
	if status, answer := v.answer("POST", "/publish/transaction"); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	again.out.wait(t, "│ Transaksi baru dari Liem Lie Wie", 2)
	if strings.Contains(again.out.String(), "(browser)") {
		t.Error("the browser of the former run is there")
	}
}
