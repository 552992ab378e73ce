package event

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

var update = flag.Bool("update", false, "write what the tests got as what they want")

// golden compares got with the content of a file.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// The rules have every documented state for every role. A state that ends something asks
// nobody to act.
func TestRulesCoverTheDictionaries(t *testing.T) {
	for _, c := range []struct {
		resource, states, ends string // in order of their ranks
		roles                  []role
	}{
		{"transaction", "pending addressed payment_chosen confirm_payment paid delivered received remitted rejected cancelled expired refunded",
			"remitted rejected cancelled expired refunded", []role{seller, buyer}},
		{"nego", "waiting accepted rejected cancelled expired finished", "rejected cancelled expired finished", []role{seller, buyer}},
		{"mutation", "remit topup payment refund withdrawal restore", "remit topup payment refund withdrawal restore", []role{owner}},
		{"withdrawal", "pending processed cancelled", "pending processed cancelled", []role{owner}},
		{"report", "reported", "reported", []role{owner}},
	} {
		states := strings.Fields(c.states)
		if len(rulesByState[c.resource]) != len(states) {
			t.Errorf("%s has %d states, want %d", c.resource, len(rulesByState[c.resource]), len(states))
		}
		for i, state := range states {
			m := rulesByState[c.resource][state]
			if m == nil || m.rank != i+1 {
				t.Errorf("%s %s: %+v, want rank %d", c.resource, state, m, i+1)
				continue
			}
			for _, r := range c.roles {
				rule := m.of(r)
				if rule == nil {
					t.Errorf("%s %s: nothing for the %s", c.resource, state, roleNames[r])
				} else if slices.Contains(strings.Fields(c.ends), state) && (len(rule.actions) > 0 || rule.counter != none && rule.counter != model.TransactionNews) {
					t.Errorf("%s asks for something", rule.textID())
				}
			}
		}
	}
}

// A state of a transaction either asks the buyer to act, or is news for the buyer. News is
// listed, because it counts as long as its notification is unread.
func TestEveryStateOfATransactionCountsForItsBuyer(t *testing.T) {
	for state, m := range rulesByState["transaction"] {
		rule := m.of(buyer)
		want := model.TransactionNews
		if len(rule.actions) > 0 {
			want = model.BuyerTransactions
		}
		if rule.counter != want {
			t.Errorf("%s enters counter %d, want %d", state, rule.counter, want)
		}
		if rule.counter == model.TransactionNews && rule.level == Counted {
			t.Errorf("%s is news that no list shows", state)
		}
	}
}

// Every rule that lists or pushes something has a text and a known set of actions. Every
// text is used.
func TestRulesHaveWords(t *testing.T) {
	ids := testTexts.IDs()
	used := []string{
		"message", "messages", "somebody",
		"private.transaction", "private.nego", "private.dompet", "private.news",
	}
	for i := range rules {
		r := &rules[i]
		if r.level == Counted {
			continue
		}
		used = append(used, r.textID())
		if !slices.Contains(ids, r.textID()) {
			t.Errorf("%s: there is no such text", r.textID())
		}
		if r.level == Pushed && r.ttl == 0 {
			t.Errorf("%s: has no TTL", r.textID())
		}
		if joined := strings.Join(r.actions, "_"); joined != "" && categories[joined] != joined {
			t.Errorf("%s: no category %s", r.textID(), joined)
		}
	}
	for _, id := range ids {
		if !slices.Contains(used, id) && !strings.HasPrefix(id, "api.") { // a test of the API checks those
			t.Errorf("the text %s is not used", id)
		}
	}
}

// docs/rules.md shows the rules with their texts.
func TestRulesAreDocumented(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# Who is told what

Written by ` + "`go test ./dispatcher/event -run RulesAreDocumented -update`" + ` from the table in ` + "`dispatcher/event/rules.go`" + ` and the message files in ` + "`dispatcher/text/messages`" + `.

States stand in the order in which they come: of states with the same time, the lower one counts. A state leaves every counter but the one it names. "push" means on the phones, in the list and on live sockets; "list" the same without the phones; "count" that only the counters change. TTL is how long a phone that is off should still get the push, unless the event has a ` + "`ttl`" + `.
`)
	counters := map[model.Counter]string{
		model.SellerTransactions: "`transactions_need_action_as_seller`", model.BuyerTransactions: "`transactions_need_action_as_buyer`",
		model.TransactionNews: "`transactions_as_buyer`",
		model.SellerOffers:    "`offers_need_action_as_seller`", model.BuyerOffers: "`offers_need_action_as_buyer`",
	}
	heard := map[Level]string{Counted: "count", Muted: "list, never pushed", Listed: "list", Pushed: "push"}
	about := map[string]string{
		"transaction": "transaction", "nego": "nego", "mutation": "dompet", "withdrawal": "dompet", "report": "report",
	}
	for i := range rules {
		r := &rules[i]
		if i == 0 || rules[i-1].resource != r.resource {
			fmt.Fprintf(&b, "\n## %s (type `%s`, lane `%s`)\n\n", r.resource, about[r.resource], builtIn[about[r.resource]].Lane)
			b.WriteString("| state | who | delivery | Indonesian | English | actions | counter | TTL |\n|---|---|---|---|---|---|---|---|\n")
		}
		words := make([]string, len(text.Locales))
		for n, l := range text.Locales {
			if r.level != Counted {
				words[n] = testTexts.Text(l, r.textID(), text.Args{Buyer: "Me Ow", Seller: "Ani", Amount: "25000", Product: "Bantal"})
			}
		}
		ttl := ""
		if r.level == Pushed {
			ttl = fmt.Sprintf("%dd", r.ttl/(24*time.Hour))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s |\n", r.state, roleNames[r.role], heard[r.level],
			words[0], words[1], strings.Join(r.actions, ", "), counters[r.counter], ttl)
	}
	b.WriteString("\n## Types\n\n| type | lane | in the list | TTL |\n|---|---|---|---|\n")
	for _, name := range BuiltInTypes() {
		spec, list := builtIn[name], ""
		switch {
		case spec.Promo:
			list = "yes, also when no type is asked for"
		case spec.Listed:
			list = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %v |\n", name, spec.Lane, list, spec.TTL)
	}
	golden(t, "../../docs/rules.md", b.Bytes())
}
