package outbox

import (
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Dismissals returns the function that inbox.Options.Dismissals wants: in which delayed set a
// user's dismissal waits, and its entry. All dismissals of a user are the same entry, so that
// a run of them is one. It has no id, and no body: a worker gives it an id, and looks up what
// is to be said.
func Dismissals(parts *rdb.Partitions) func(user int64) (delayed, entry string) {
	k := keys{partitions: parts}
	return func(user int64) (string, string) {
		return k.DelayedKey(parts.OfUser(user), push.Urgent), (&Entry{User: user, Type: push.TypeDismiss}).Value()
	}
}

// Dismisses reports whether the entry is a dismissal.
func (e *Entry) Dismisses() bool { return e.Type == push.TypeDismiss }

// Again returns a dismissal as it is delayed: without what a worker has given it, so that it
// is the same entry as another one for that device.
func (e *Entry) Again() *Entry {
	again := *e
	again.ID, again.Expires, again.Until, again.Since = "", 0, 0, 0
	return &again
}
