package dispatcher

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
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

// golden compares got with a file.
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

// The table has every state of the documents' dictionaries, for everybody, and the
// states that end something leave every counter.
func TestRulesCoverTheDictionaries(t *testing.T) {
	for _, c := range []struct {
		resource, states, ends string // in order
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
		if len(meanings[c.resource]) != len(states) {
			t.Errorf("%s has %d states, want %d", c.resource, len(meanings[c.resource]), len(states))
		}
		for i, state := range states {
			m := meanings[c.resource][state]
			if m == nil || m.rank != i+1 {
				t.Errorf("%s %s: %+v, want rank %d", c.resource, state, m, i+1)
				continue
			}
			for _, r := range c.roles {
				rule := m.to(r)
				if rule == nil {
					t.Errorf("%s %s: nothing for the %s", c.resource, state, roleNames[r])
				} else if slices.Contains(strings.Fields(c.ends), state) && rule.counter != none {
					t.Errorf("%s enters a counter", rule.text())
				}
			}
		}
	}
}

// Whatever the rules tell has words in every language, and a known set of actions.
func TestRulesHaveWords(t *testing.T) {
	ids := testTexts.IDs()
	used := []string{
		"message", "messages", "somebody",
		"private.transaction", "private.nego", "private.dompet", "private.news",
	}
	for i := range rules {
		r := &rules[i]
		if r.hears == counted {
			continue
		}
		used = append(used, r.text())
		if !slices.Contains(ids, r.text()) {
			t.Errorf("%s: there is no such text", r.text())
		}
		if r.hears == pushed && r.worth == 0 {
			t.Errorf("%s: is not worth sending", r.text())
		}
		if joined := strings.Join(r.actions, "_"); joined != "" && categories[joined] != joined {
			t.Errorf("%s: no category %s", r.text(), joined)
		}
	}
	for _, id := range ids {
		if !slices.Contains(used, id) && !strings.HasPrefix(id, "api.") { // those a test of the API finds
			t.Errorf("nobody asks for the text %s", id)
		}
	}
}

// docs/rules.md shows the table with its words.
func TestRulesAreDocumented(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# Who is told what

Written by ` + "`go test ./dispatcher -run RulesAreDocumented -update`" + ` from the table in ` + "`dispatcher/rules.go`" + ` and the message files in ` + "`dispatcher/text/messages`" + `.

States stand in the order in which they come: of states with the same time, the lower one counts. A state leaves every counter but the one it names. "push" means on the phones, in the list and on live sockets; "list" the same without the phones; "count" that only the counters move. The last column is how long a phone that is off should still get the push, unless the event has a ` + "`ttl`" + `.
`)
	counters := map[model.Counter]string{
		model.SellerTransactions: "`transactions_need_action_as_seller`", model.BuyerTransactions: "`transactions_need_action_as_buyer`",
		model.TransactionNews: "`transactions_as_buyer`",
		model.SellerOffers:    "`offers_need_action_as_seller`", model.BuyerOffers: "`offers_need_action_as_buyer`",
	}
	heard := map[hearing]string{counted: "count", muted: "list, never pushed", listed: "list", pushed: "push"}
	about := map[string]string{
		"transaction": "transaction", "nego": "nego", "mutation": "dompet", "withdrawal": "dompet", "report": "report",
	}
	for i := range rules {
		r := &rules[i]
		if i == 0 || rules[i-1].resource != r.resource {
			fmt.Fprintf(&b, "\n## %s (type `%s`, lane `%s`)\n\n", r.resource, about[r.resource], kinds[about[r.resource]].lane)
			b.WriteString("| state | who | hears | Indonesian | English | actions | counter | worth |\n|---|---|---|---|---|---|---|---|\n")
		}
		words := make([]string, len(text.Locales))
		for n, l := range text.Locales {
			if r.hears != counted {
				words[n] = testTexts.Text(l, r.text(), text.Args{Buyer: "Me Ow", Seller: "Ani", Amount: "25000", Product: "Bantal"})
			}
		}
		worth := ""
		if r.hears == pushed {
			worth = fmt.Sprintf("%dd", r.worth/(24*time.Hour))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s |\n", r.state, roleNames[r.role], heard[r.hears],
			words[0], words[1], strings.Join(r.actions, ", "), counters[r.counter], worth)
	}
	b.WriteString("\n## Types\n\n| type | lane | in the list | worth |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		k, list := kinds[name], ""
		switch {
		case k.promo:
			list = "yes, also when no type is asked for"
		case k.listed:
			list = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %v |\n", name, k.lane, list, k.worth)
	}
	golden(t, "../docs/rules.md", b.Bytes())
}
