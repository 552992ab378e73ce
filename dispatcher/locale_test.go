package dispatcher

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
)

func (w *world) speaks(user int64, locale string) {
	w.t.Helper()
	if err := w.opts.Inbox.Profiles.Set(w.t.Context(), user, inbox.Profile{Locale: &locale}); err != nil {
		w.t.Fatal(err)
	}
}

const offerMade = `{"negotiation":{"id":%d,"state":"waiting","seller":{"id":66,"name":"Ani"},"buyer":{"id":15,"name":"Me Ow"}},"receiver_id":66}`

// A push is in the language of the receiver's profile at the time of sending, else in the
// configured language. The operator's texts replace Kabar's. Texts from services are not
// changed.
func TestPushesSpeakTheReceiversLanguage(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	own := []byte("nego: {waiting: {seller: \"{{.Buyer}} wants to bargain\"}}\n")
	if err := os.WriteFile(filepath.Join(folder, "en.yaml"), own, 0o600); err != nil {
		t.Fatal(err)
	}
	operators, err := text.New(text.Options{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		profile string
		preset  text.Locale
		texts   *text.Catalogue
		want    []string
	}{
		"nothing is chosen":    {"", "", nil, []string{"Anda mendapatkan tawaran nego dari Me Ow", "m"}},
		"the profile says":     {"en", "", nil, []string{"You have received an offer from Me Ow", "m"}},
		"the preset says":      {"", text.English, nil, []string{"You have received an offer from Me Ow", "m"}},
		"the profile outranks": {"id", text.English, nil, []string{"Anda mendapatkan tawaran nego dari Me Ow", "m"}},
		"the operator's words": {"en", "", operators, []string{"Me Ow wants to bargain", "m"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *Options) { o.Locale, o.Texts = c.preset, c.texts })
			w.register(66, devices.Android, "A")
			w.publish(fmt.Sprintf(offerMade, 1))
			if c.profile != "" {
				w.speaks(66, c.profile) // the profile changes after publishing
			}
			w.run()
			w.publish(`{"type":"nego","receiver_id":66,"message":"m"}`)
			w.settled()
			got := []string{}
			for _, d := range w.android.wait(t, "pushes", count(2)) {
				got = append(got, d.Body)
				var message string
				for _, f := range d.Data {
					if f.Name == "texts" {
						t.Errorf("the push has all languages")
					} else if f.Name == "message" {
						message, _ = jsonscan.Scalar(jsontext.Value(f.Value))
					}
				}
				if message != d.Body {
					t.Errorf("data says %q, the screen %q", message, d.Body)
				}
			}
			slices.Sort(got) // the order of arrival is not fixed
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A run of messages is shown as their number, in the plural form of the receiver's
// language.
func TestRunsOfMessagesAreCounted(t *testing.T) {
	t.Parallel()
	w := newChat(t)
	w.speaks(66, "en")
	w.register(66, devices.IOS, "A")
	w.run()
	w.send(15, 66, "satu")
	first := w.ios.wait(t, "push", count(1))[0].Body
	w.send(15, 66, "dua")
	second := w.ios.wait(t, "second push", count(2))[1].Body
	if first != "You have received a message from Me Ow" || second != "2 messages from Me Ow" {
		t.Errorf("pushes %q and %q", first, second)
	}
}
