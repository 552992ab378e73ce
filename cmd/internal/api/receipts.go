package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/receipt"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// receipts serves the endpoint by which apps say what became of notifications.
type receipts struct {
	receipts Receipts
	devices  Devices
}

// accept: POST /v2/notifications/receipts.json
func (rs *receipts) accept(r *http.Request, user int64) (reply, error) {
	in, err := readParams(r)
	if err != nil {
		return reply{}, err
	}
	p, token := deviceIn(in)
	list := readReceipts(in)
	if err := in.err(); err != nil {
		return reply{}, err
	}
	device := ""
	if token != "" {
		d, err := rs.devices.Find(r.Context(), user, p.tokens(), token)
		if err != nil {
			return reply{}, noConfig(textNoDevice, p.blame(err))
		}
		device = d.ID
	}
	if err := rs.receipts.Accept(r.Context(), user, device, list); err != nil {
		return reply{}, err
	}
	return ok(done{Status: "OK"})
}

// readReceipts reads the receipts of a request, and rejects each member that is wrong by its
// path.
func readReceipts(in *params) []receipt.Receipt {
	const name = "receipts"
	list := in.lists[name]
	if len(list) == 0 || len(list) > receipt.Max {
		in.reject(name, fmt.Sprintf("must be a list of 1 to %d receipts in a JSON body", receipt.Max))
		return nil
	}
	all := make([]receipt.Receipt, len(list))
	for i, item := range list {
		path := fmt.Sprintf("%s[%d]", name, i)
		var members map[string]jsontext.Value
		if item.Kind() != '{' || json.Unmarshal(item, &members) != nil {
			in.reject(path, "must be an object")
			continue
		}
		text := func(member string) (value string) {
			if raw := members[member]; raw.Kind() == '"' {
				_ = json.Unmarshal(raw, &value) // never fails: it was decoded before
			} else if raw != nil && raw.Kind() != 'n' {
				in.reject(path+"."+member, "must be a text")
			}
			return value
		}
		re := &all[i]
		if re.ID = text("notification_id"); !model.ValidID(re.ID) {
			in.reject(path+".notification_id", "must be 24 lower-case hex digits")
		}
		if re.Event = text("event"); !slices.Contains(receipt.Events, re.Event) {
			in.reject(path+".event", "must be one of "+strings.Join(receipt.Events, ", "))
		}
		if at := text("at"); at != "" {
			var err error
			if re.At, err = time.Parse(time.RFC3339, at); err != nil {
				in.reject(path+".at", "must be a time such as 2014-01-23T13:48:51+07:00")
			}
		}
	}
	return all
}
