package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// servicePrefix begins the sources that are services.
const servicePrefix = "service:"

// ServiceSource names a service as the origin of events and broadcasts: ids are unique
// within a source.
func ServiceSource(service string) string { return servicePrefix + service }

// SourceService returns the service that a source names, "" when it names none.
func SourceService(source string) string {
	service, ok := strings.CutPrefix(source, servicePrefix)
	if !ok {
		return ""
	}
	return service
}

// WithinSource returns the name space of event ids: a service (see ServiceSource) and the
// source of a CloudEvent, or the service alone for "". The same source and id sent by two
// services are two events.
func WithinSource(service, uri string) string {
	if uri == "" {
		return service
	}
	return service + " " + uri // names of services have no spaces
}

// Key is the digest under which the inbox knows an event of a service.
func (e *Event) Key(service string) string {
	return Key(WithinSource(service, e.cloudSource), e.ID)
}

// Key is the digest of an event's source and id.
func Key(source, id string) string {
	sum := sha256.Sum256([]byte(source + "\x00" + id))
	return hex.EncodeToString(sum[:16])
}
