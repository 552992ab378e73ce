package event

import (
	"maps"
	"slices"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const day = 24 * time.Hour

// A TypeSpec holds the properties of an event type.
type TypeSpec struct {
	Lane   push.Lane
	Listed bool // enters the list and unread_notifications
	Promo  bool // pushed in the shape of the promotions' samples, and listed by default
	// TTL is how long a phone that is off should still get the push, where no rule says
	// otherwise. It is 0 for types that are never pushed.
	TTL time.Duration
	// Apps are the apps that are pushed events of the type which name none; nil: all.
	Apps []string
	Defaults
}

// builtIn is the table of event types. Their push samples are in the v2 API's "Android
// Notifications Data Samples".
var builtIn = map[string]TypeSpec{
	"transaction":  {Lane: push.Urgent, Listed: true, TTL: 3 * day},
	"nego":         {Lane: push.Urgent, Listed: true, TTL: 3 * day},
	"dompet":       {Lane: push.Urgent, Listed: true, TTL: 3 * day},
	"message":      {Lane: push.Chat, TTL: 3 * day},
	"report":       {Lane: push.Bulk, Listed: true, TTL: 3 * day},
	"reminder":     {Lane: push.Bulk, TTL: time.Hour},
	"discount":     {Lane: push.Bulk, Listed: true, Promo: true, TTL: day},
	"category":     {Lane: push.Bulk, Listed: true, Promo: true, TTL: day},
	"profile":      {Lane: push.Bulk, Listed: true, Promo: true, TTL: day},
	"product":      {Lane: push.Bulk, Listed: true, Promo: true, TTL: day},
	"announcement": {Lane: push.Bulk, Listed: true, Promo: true, TTL: day},
	"campaign":     {Lane: push.Bulk, Listed: true, Promo: true, TTL: day},
	"broadcast":    {Lane: push.Bulk, Listed: true, Promo: true, TTL: day},
	"cart":         {Lane: push.Bulk}, // sets a counter, and nobody is told
}

// BuiltInTypes returns the names of the types that need no declaration, sorted.
func BuiltInTypes() []string { return slices.Sorted(maps.Keys(builtIn)) }

// A Type is an event type that the configuration declares in addition to the built-in ones.
// With the name of a built-in one it changes that one's Apps and defaults, and has nothing else.
type Type struct {
	Name    string
	Lane    push.Lane
	Message string // the text of events without a message
	Apps    []string
	Defaults
}

// Types are the event types of this gateway, built-in and declared. They are immutable
// and safe for concurrent use.
type Types struct {
	specs    map[string]TypeSpec
	messages map[string]string // of declared types
}

// NewTypes returns the built-in types, and those that are declared.
func NewTypes(declared ...Type) *Types {
	t := &Types{specs: maps.Clone(builtIn), messages: make(map[string]string)}
	for _, d := range declared {
		spec, known := builtIn[d.Name]
		if !known {
			spec = TypeSpec{Lane: d.Lane, Listed: true, Promo: d.Lane == push.Bulk, TTL: day}
			t.messages[d.Name] = d.Message
		}
		spec.Apps = d.Apps
		spec.Defaults = d.Defaults
		t.specs[d.Name] = spec
	}
	return t
}

// Spec returns the properties of a type, and the zero spec when there is no such type.
func (t *Types) Spec(name string) TypeSpec { return t.specs[name] }

// lookup is Spec, and reports whether there is such a type.
func (t *Types) lookup(name string) (TypeSpec, bool) {
	spec, ok := t.specs[name]
	return spec, ok
}

// Promos returns the types that the list of notifications shows when none is asked for,
// sorted.
func (t *Types) Promos() []string {
	return t.names(func(s TypeSpec) bool { return s.Listed && s.Promo })
}

// AllPromos is the name under which all promotions are muted together.
const AllPromos = "promo"

// Mutable returns the names that can be muted on a device, sorted: every type that is
// pushed, and AllPromos.
func (t *Types) Mutable() []string {
	names := append(t.names(func(s TypeSpec) bool { return s.TTL > 0 }), AllPromos)
	slices.Sort(names)
	return names
}

func (t *Types) names(which func(TypeSpec) bool) []string {
	var names []string
	for name, spec := range t.specs {
		if which(spec) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
