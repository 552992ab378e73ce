package event

// notAMember is what is wrong with an unknown member where it is refused.
const notAMember = "is not a member of an event"

// fromSamples are members of the marketplace's samples that say nothing to Kabar: services
// send them along with the event or resource.
var fromSamples = map[string]bool{
	"created_at": true, "read_state": true, // of promotions
	"unread_notifications": true, "messages": true, // of the reminder
	"status": true, // of the answer with a resource
}

// Bounds of what is said of unknown members.
const (
	maxUnknown     = 16 // members of an event
	maxUnknownName = 64 // characters
)

// noteUnknown adds the name of a member that an event does not have.
func noteUnknown(unknown []string, path, name string) []string {
	if len(unknown) == maxUnknown || path == "" && fromSamples[name] {
		return unknown
	}
	return append(unknown, path+Truncate(name, maxUnknownName))
}

// allUnknown returns the unknown members of the event and of the object around it, once
// unwrap has dropped those of a resource.
func (w *wireEvent) allUnknown() []string {
	if w.around == nil {
		return w.unknown
	}
	all := w.around.unknown
	for _, name := range w.unknown {
		all = noteUnknown(all, "data.", name)
	}
	return all
}

// RefuseUnknown returns an *InvalidError that names the unknown members of the event, or
// nil when there are none: for services that want their slips refused.
func (e *Event) RefuseUnknown() error {
	var v Validator
	v.refuse(e.Unknown)
	return v.Err()
}

// refuse notes unknown members as wrong.
func (v *Validator) refuse(unknown []string) {
	for _, name := range unknown {
		v.Wrong(name, notAMember)
	}
}
