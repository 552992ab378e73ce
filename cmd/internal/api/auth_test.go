package api

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/inbox/model"
)

const unreadsPath = "/v2/notifications/unreads.json"

func TestAppsSignIn(t *testing.T) {
	w := newWorld(t, nil)
	for name, auth := range map[string]string{
		"nothing":          "",
		"wrong token":      "66:wrong",
		"no token":         "66:",
		"another's token":  "67:tok3ntok3n",
		"unknown user":     "68:tok3ntok3n",
		"leading zero":     "066:tok3ntok3n",
		"a sign":           "+66:tok3ntok3n",
		"not a number":     "ani:tok3ntok3n",
		"beyond 64 bits":   "99999999999999999999:t",
		"no user":          ":tok3ntok3n",
		"a service's key":  "Bearer " + shop,
		"another scheme":   "Digest x",
		"not even base 64": "Basic ???",
	} {
		t.Run(name, func(t *testing.T) {
			got := w.do(call{method: "GET", path: unreadsPath, auth: auth})
			w.fails(got, 401, unauthorized)
			if c := got.header.Get("WWW-Authenticate"); c != `Basic realm="kabar"` {
				t.Errorf("challenge %q", c)
			}
		})
	}
	w.must(w.get(unreadsPath), 200)
}

func TestFailedSignInsAreLimited(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.get(unreadsPath), 200)
	for range 3 {
		w.server.Client().CloseIdleConnections() // so that the next request comes from a new port, which must not count as a new address
		w.fails(w.basic("66:guess", "GET", unreadsPath, ""), 401, unauthorized)
		w.fails(w.basic("67:guess", "GET", unreadsPath, ""), 401, unauthorized)
	}
	got := w.basic("66:guess", "GET", unreadsPath, "")
	w.fails(got, 429, rateLimited)
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	w.fails(w.basic(budi, "GET", unreadsPath, ""), 429, rateLimited)
	w.must(w.get(unreadsPath), 200) // credentials that are known to be good still work
	families, err := w.metrics.Gather()
	check(t, err)
	refused := make(map[string]float64)
	for _, f := range families {
		if f.GetName() == "kabar_sign_ins_refused_total" {
			for _, m := range f.GetMetric() {
				refused[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{"user": 2, "address": 0, "upstream": 0}, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

// watchedCredentials says when somebody has signed in.
type watchedCredentials struct {
	Credentials
	authenticated chan struct{}
}

func (c watchedCredentials) Authenticate(ctx context.Context, user int64, token, address string) (int64, error) {
	vouched, err := c.Credentials.Authenticate(ctx, user, token, address)
	c.authenticated <- struct{}{}
	return vouched, err
}

// A request whose body arrives after its credential was revoked is refused, and does
// nothing.
func TestSlowRequestEndsWithItsToken(t *testing.T) {
	for name, change := range map[string]struct {
		token  string
		status int
	}{
		"another token":  {"another", 401},
		"the same token": {"tok3ntok3n", 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			watched := watchedCredentials{w.options.Credentials, make(chan struct{}, 1)}
			opts := w.options
			opts.Credentials, opts.Metrics = watched, nil
			a := newAPI(opts)
			a.auth.recheck = 0 // do not wait for a second
			from, to := io.Pipe()
			r := httptest.NewRequest("POST", "/v2/messages.json", from)
			r.Header.Set("Content-Type", typeJSON)
			r.SetBasicAuth("66", "tok3ntok3n")
			got := make(chan answer)
			go func() { got <- serve(a.router.mux, r) }()
			<-watched.authenticated
			w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"token":"`+change.token+`"}`), 200)
			_, err := io.WriteString(to, `{"instant_message":{"receiver_id":67,"category":0,"body_bb":"halo"}}`)
			if err == nil {
				err = to.Close()
			}
			answered := <-got
			if answered.status != change.status {
				t.Errorf("status %d: %s, %v", answered.status, answered.body, err)
			}
			messages, err := w.inbox.Conversations.Messages(t.Context(), 67, model.ConversationID(66, 67), 0, 10)
			if sent := len(messages) > 0; sent != (change.status == 200) {
				t.Errorf("%d messages, %v", len(messages), err)
			}
		})
	}
}

func TestServicesBearTheirKey(t *testing.T) {
	w := newWorld(t, nil)
	event := `{"type":"cart","receiver_id":66,"details":{"cart_items":1}}`
	for name, tc := range map[string]struct {
		auth   string
		status int
	}{
		"a key":                   {"Bearer " + shop, 202},
		"scheme in another case":  {"bearer " + shop, 202},
		"the scope":               {"Bearer " + shop2, 202},
		"another scope":           {"Bearer " + directory, 403},
		"a wrong key":             {"Bearer wrong", 401},
		"no key":                  {"Bearer", 401},
		"an empty key":            {"Bearer ", 401},
		"nothing":                 {"", 401},
		"a user":                  {ani, 401},
		"a key as a user's token": {"66:" + shop, 401},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.do(call{method: "POST", path: "/v2/events.json", auth: tc.auth, media: typeJSON, body: event})
			switch w.must(got, tc.status); tc.status {
			case 401:
				w.fails(got, 401, unauthorized)
				if c := got.header.Get("WWW-Authenticate"); c != `Bearer realm="kabar"` {
					t.Errorf("challenge %q", c)
				}
			case 403:
				w.fails(got, 403, forbidden, "scope")
			}
		})
	}
	w.fails(w.bearer(directory, "GET", "/v2/events/x.json", ""), 403, forbidden, "scope")
	w.fails(w.bearer(shop2, "PUT", "/v2/users/66.json", "{}"), 403, forbidden, "scope")
	w.must(w.bearer(directory, "PUT", "/v2/users/66.json", "{}"), 200)
}

func TestNothingPrivateIsLogged(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.basic(ani, "POST", "/v2/notifications/android.json?reg_id=quErytoken", "reg_id=d3vicetoken&model=m0del"), 200)
	w.must(w.publish(`{"id":"ev3nt","type":"dompet","receiver_id":66,"message":"pr1vate","details":{"amount":4242424242}}`), 202)
	w.fails(w.publish(`{"id":"ev3nt","type":"dompet","receiver_id":66,"message":"c0nflict"}`), 409, conflict)
	w.fails(w.publish(`{"type":"dompet","message":"pr1vate" oops`), 400, malformed, "event")
	w.fails(w.basic("66:w0rse", "GET", "/v2/notifications/list.json", ""), 401, unauthorized)
	w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"name":"Sekr3t","token":"n3wtoken"}`), 200)
	w.fails(w.bearer("wr0ngkey", "PUT", "/v2/users/66.json", `{}`), 401, unauthorized)

	log := w.log.String()
	if !strings.Contains(log, `"route":"/v2/events.json"`) || !strings.Contains(log, `"status":409`) {
		t.Fatalf("requests are not in the debug log:\n%s", log)
	}
	for _, private := range []string{
		"quErytoken", "d3vicetoken", "m0del", "pr1vate", "4242424242", "c0nflict", "ev3nt",
		"tok3ntok3n", "w0rse", "Sekr3t", "n3wtoken", shop, directory, "wr0ngkey", "Basic", "Bearer",
	} {
		if strings.Contains(log, private) {
			t.Errorf("the log holds %q", private)
		}
	}
}
