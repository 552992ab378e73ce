package broadcast

import (
	_ "embed"
	"maps"
	"slices"

	"github.com/kabar-gateway/kabar/dispatcher/outbox"
)

//go:embed tally.lua
var tallySource string

// Fragment counts the outcomes of a broadcast's pushes within the script that settles an
// entry; see Broadcasts.Tally.
var Fragment = outbox.Fragment{Name: "tally_broadcast", Source: tallySource, Types: []string{"hash"}}

// The fields of a walk that count pushes.
const (
	acceptedField = "accepted"
	failedField   = "failed:"   // and the reason
	receiptsField = "receipts:" // and what the receipts say
)

// ReceiptTally returns the hash and the field that count receipts of a broadcast's
// notifications to users of a partition. key is that of the notifications' reference.
func (b *Broadcasts) ReceiptTally(partition int, key, event string) (walk, field string) {
	return b.store.walkKey(partition, key), receiptsField + event
}

// Tally returns what settling an entry of a broadcast adds to the counts of its walk:
// pushes that a provider accepted and, by reason, pushes that failed for good. key is
// the key of the entry's reference.
func (b *Broadcasts) Tally(partition int, key string, accepted int, failed map[string]int) outbox.Addition {
	var args []any
	if accepted > 0 {
		args = append(args, acceptedField, accepted)
	}
	for _, reason := range slices.Sorted(maps.Keys(failed)) {
		args = append(args, failedField+reason, failed[reason])
	}
	if len(args) == 0 {
		return outbox.Addition{}
	}
	return outbox.Addition{Fragment: Fragment.Name, Keys: []string{b.store.walkKey(partition, key)}, Args: args}
}
