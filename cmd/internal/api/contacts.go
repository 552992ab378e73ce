package api

import (
	"cmp"
	"net/http"
)

// A contact is somebody with whom the user has had transactions.
type contact struct {
	PartnerType      string   `json:"partner_type"`
	PartnerID        int64    `json:"partner_id"`
	PartnerName      string   `json:"partner_name"`
	PartnerAvatarURL string   `json:"partner_avatar_url"`
	Items            []string `json:"items"`
}

// contacts serves the endpoint of contacts.
type contacts struct {
	contacts      Contacts
	profiles      Profiles
	defaultAvatar func(*http.Request) string
}

// contactList: GET /v2/users/contact_list.json
func (cs *contacts) contactList(r *http.Request, user int64) (reply, error) {
	known, err := cs.contacts.List(r.Context(), user)
	if err != nil {
		return reply{}, err
	}
	partners := make([]int64, len(known))
	for i, c := range known {
		partners[i] = c.Partner
	}
	profiles, err := cs.profiles.GetAll(r.Context(), partners...)
	if err != nil {
		return reply{}, err
	}
	shown, noAvatar := make([]contact, len(known)), cs.defaultAvatar(r)
	for i, c := range known {
		p := profiles[c.Partner] // preferred to the name in an old transaction
		if c.Name != "" && (p.Name == nil || *p.Name == "") {
			p.Name = &c.Name
		}
		shown[i] = contact{
			PartnerType:      c.Role,
			PartnerID:        c.Partner,
			PartnerName:      p.DisplayName(c.Partner),
			PartnerAvatarURL: cmp.Or(avatarOf(p), c.Avatar, noAvatar),
			Items:            append([]string{}, c.Items...),
		}
	}
	re, err := ok(struct {
		Status  string    `json:"status"`
		Body    []contact `json:"body"`
		Message *string   `json:"message"`
	}{"OK", shown, nil})
	re.tagged = true
	return re, err
}
