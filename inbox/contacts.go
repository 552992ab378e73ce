package inbox

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kabar-gateway/kabar/inbox/model"
)

const (
	maxContacts = 500 // transactions that are kept of a user, the newest ones
	maxPartners = 100 // contacts in a list
	maxItems    = 50  // items of a contact in a list
)

// storedContact is the stored form of one transaction with a contact.
type storedContact struct {
	Name   string   `json:"n,omitempty"`
	Avatar string   `json:"a,omitempty"`
	Items  []string `json:"i,omitempty"`
}

// contactField returns the field of a contact in the contacts hash.
func contactField(c *model.Contact) string {
	return c.Role + ":" + strconv.FormatInt(c.Partner, 10) + ":" + c.Transaction
}

// contactValue returns the value of that field.
func contactValue(c *model.Contact) string {
	b, err := json.Marshal(storedContact{c.Name, c.Avatar, c.Items})
	if err != nil {
		panic(fmt.Sprintf("marshal contact: %v", err)) // strings always marshal
	}
	return string(b)
}

func parseContact(field, stored string) (model.Contact, error) {
	role, rest, _ := strings.Cut(field, ":")
	id, transaction, _ := strings.Cut(rest, ":")
	partner, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return model.Contact{}, fmt.Errorf("contact %.40q: %w", field, err)
	}
	var s storedContact
	if err := json.Unmarshal([]byte(stored), &s); err != nil {
		return model.Contact{}, fmt.Errorf("contact %.40q: %w", field, err)
	}
	return model.Contact{Role: role, Partner: partner, Transaction: transaction, Name: s.Name, Avatar: s.Avatar, Items: s.Items}, nil
}

// Contacts lists the partners of a user's transactions. Notifications.Store adds them.
type Contacts struct{ *base }

// List returns the partners of a user's transactions, the one with the newest transaction
// first. A partner who was seller and buyer is listed as both. Each has the items of all
// transactions, without repetition, the newest first.
func (c *Contacts) List(ctx context.Context, user int64) ([]model.Contact, error) {
	k := c.keys(user)
	fields, err := c.redis.ZRevRange(ctx, k.recentContacts(), 0, maxContacts-1).Result()
	if err != nil {
		return nil, fmt.Errorf("list contacts: %w", err)
	}
	if len(fields) == 0 {
		return nil, nil
	}
	stored, err := c.redis.HMGet(ctx, k.contacts(), fields...).Result()
	if err != nil {
		return nil, fmt.Errorf("list contacts: %w", err)
	}
	transactions := make([]model.Contact, 0, len(fields))
	for i, v := range stored {
		text, ok := v.(string)
		if !ok {
			continue // dropped between the two commands
		}
		c, err := parseContact(fields[i], text)
		if err != nil {
			return nil, fmt.Errorf("list contacts: %w", err)
		}
		transactions = append(transactions, c)
	}
	return byPartner(transactions), nil
}

// byPartner joins the transactions with the same partner in the same role.
func byPartner(transactions []model.Contact) []model.Contact {
	type who struct {
		role    string
		partner int64
	}
	var contacts []model.Contact
	place := make(map[who]int)
	for _, t := range transactions {
		i, known := place[who{t.Role, t.Partner}]
		if !known {
			if len(contacts) == maxPartners {
				continue
			}
			i = len(contacts)
			place[who{t.Role, t.Partner}] = i
			contacts = append(contacts, model.Contact{Role: t.Role, Partner: t.Partner, Name: t.Name, Avatar: t.Avatar})
		}
		c := &contacts[i]
		for _, item := range t.Items {
			if len(c.Items) < maxItems && !slices.Contains(c.Items, item) {
				c.Items = append(c.Items, item)
			}
		}
	}
	return contacts
}
