package api

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/apns"
	"github.com/kabar-gateway/kabar/dispatcher/fcm"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

var update = flag.Bool("update", false, "write what the tests got as what they want")

// sampleTime is the time on the clock when the samples are published.
const sampleTime = "2016-01-11T13:08:30.668+07:00"

// notificationID is the member of a push that no documented sample has.
var notificationID = regexp.MustCompile(`"notification_id": "[0-9a-f]{24}"`)

var promotionID = regexp.MustCompile(`^\{\s*"id": "[0-9a-f]{24}",`)

// The golden files show what each documented sample becomes: its entry in list.json, the
// request to FCM and the request to APNs. The notification's id is replaced by $ID, because
// it differs in each run.
func TestSamplesOnTheirWay(t *testing.T) {
	files, err := filepath.Glob("../../../dispatcher/testdata/samples/*.json")
	if err != nil || len(files) != 12 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	box, err := sandbox.Start(sandbox.Options{History: 100})
	check(t, err)
	t.Cleanup(func() { check(t, box.Close()) })
	senders := sendersTo(t, box)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			check(t, err)
			var sample struct{ Type string }
			check(t, json.Unmarshal(raw, &sample))
			// In a promotion, id is the id of the notification. It must not become the id
			// of the event.
			published := promotionID.ReplaceAll(raw, []byte(`{"receiver_id": 66,`))

			w := newWorld(t, senders)
			w.at(sampleTime)
			token := strings.NewReplacer(".json", "", "_", "").Replace(filepath.Base(file))
			register(t, w, devices.Android, token)
			register(t, w, devices.IOS, token)
			w.run()
			w.must(w.publish(string(published)), 202)
			pushes := pushesTo(t, box, token)

			list := w.must(w.get(listPath+"?type="+sample.Type), 200)
			var answer struct{ Data []json.RawMessage }
			check(t, json.Unmarshal([]byte(list.body), &answer))
			got := map[string]any{"fcm": pushes[sandbox.PlatformFCM].Body, "apns": map[string]any{
				"headers": apnsHeaders(pushes[sandbox.PlatformAPNs]), "payload": pushes[sandbox.PlatformAPNs].Body,
			}}
			text := indented(t, got)
			if len(answer.Data) == 1 {
				got["list"] = answer.Data[0]
				text = strings.ReplaceAll(indented(t, got), list.envelope(t).Data[0].ID, "$ID")
			}
			goldenSample(t, filepath.Base(file), notificationID.ReplaceAllString(text, `"notification_id": "$$ID"`))
		})
	}
}

// sendersTo returns the real senders, connected to a sandbox.
func sendersTo(t *testing.T, box *sandbox.Sandbox) map[push.Route]push.Sender {
	t.Helper()
	clock := func() time.Time {
		at, err := time.Parse(time.RFC3339, sampleTime)
		check(t, err)
		return at
	}
	file, keyID, teamID, err := box.APNs.WriteKey(t.TempDir())
	check(t, err)
	key, err := os.ReadFile(file)
	check(t, err)
	toApple, err := apns.New(apns.Options{
		KeyPEM: key, KeyID: keyID, TeamID: teamID, Topic: "com.example.app",
		Endpoint: box.APNs.Endpoint(), RootCAs: box.CAPool(),
	})
	check(t, err)
	t.Cleanup(toApple.Close)
	toGoogle, err := fcm.New(t.Context(), fcm.Options{
		ProjectID: "kabar-test", Endpoint: box.FCM.Endpoint(), RootCAs: box.CAPool(), Now: clock,
	})
	check(t, err)
	t.Cleanup(toGoogle.Close)
	return map[push.Route]push.Sender{toAndroid: toGoogle, toIOS: toApple}
}

// register registers a phone of Ani's without sending it the reminder.
func register(t *testing.T, w *world, p devices.Platform, token string) {
	t.Helper()
	_, err := w.options.Devices.Register(t.Context(), 66, devices.Device{Platform: p, Token: token}, nil)
	check(t, err)
}

// pushesTo waits for the push to a token on each platform and returns both.
func pushesTo(t *testing.T, box *sandbox.Sandbox, token string) map[string]sandbox.Push {
	t.Helper()
	pushes := make(map[string]sandbox.Push)
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	check(t, box.Wait(ctx, func() bool {
		for _, p := range box.Pushes() {
			if p.Token == token {
				pushes[p.Platform] = p
			}
		}
		return len(pushes) == 2
	}))
	for _, p := range pushes {
		if p.Answer != 200 {
			t.Errorf("%s: %d %s", p.Platform, p.Answer, p.Reason)
		}
	}
	return pushes
}

func apnsHeaders(p sandbox.Push) map[string]string {
	headers := make(map[string]string)
	for _, name := range []string{"apns-collapse-id", "apns-expiration", "apns-priority", "apns-push-type", "apns-topic"} {
		headers[name] = p.Header.Get(name)
	}
	return headers
}

// indented returns v as indented JSON. Raw JSON in v keeps the order of its members.
func indented(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	check(t, enc.Encode(v))
	return b.String()
}

func goldenSample(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "samples", name)
	if *update {
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
