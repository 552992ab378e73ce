package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// transaction is an event in the shape of the documented sample. Its numbers are
// placeholders for those of an event and its receiver.
//
//go:embed transaction.json
var transaction []byte

const (
	sampleNumber   = "9000000"
	sampleReceiver = "8000000"
)

// compactTransaction is the transaction as compact JSON, the form in which services send
// it.
var compactTransaction = func() string {
	var b bytes.Buffer
	if err := json.Compact(&b, transaction); err != nil {
		panic(fmt.Sprintf("transaction.json: %v", err))
	}
	return b.String()
}()

// transactionEvent returns the event of a transaction that asks its receiver, the seller, to
// act. The number makes its id and its resource unique.
func transactionEvent(number, receiver int64, push bool) string {
	return strings.NewReplacer(
		sampleNumber, strconv.FormatInt(number, 10),
		sampleReceiver, strconv.FormatInt(receiver, 10),
		`"push":true`, `"push":`+strconv.FormatBool(push),
	).Replace(compactTransaction)
}

// A request is the body of one request to publish events.
type request struct {
	body  []byte
	first int // the place of its first event among all of them
	count int
	took  time.Duration // from its start to the answer, once it was made
}

// Receivers are those of n events, one each: of the users after base every so many-th one,
// and from the first one again when they are fewer than events.
type receivers struct {
	n, every, users int
	base            int64 // the id before that of the first user: 0, save elsewhere
}

// everyone is the users 1 to n.
func everyone(n int) receivers { return receivers{n: n, every: 1, users: n} }

// spread spreads n events evenly over the users 1 to users.
func spread(n, users int) receivers { return receivers{n: n, every: max(1, users/n), users: users} }

// user returns the receiver at a place, which counts from 0.
func (r receivers) user(place int64) int64 { return r.base + 1 + place*int64(r.every)%int64(r.users) }

// requests returns what publishes one event to each of the receivers, batch events
// at a time: single objects, or arrays. The events are numbered on from first.
func requests(first int64, to receivers, batch int, push bool) []request {
	all := make([]request, 0, (to.n+batch-1)/batch)
	for at := 0; at < to.n; at += batch {
		count := min(batch, to.n-at)
		events := make([]string, count)
		for i := range events {
			place := int64(at + i)
			events[i] = transactionEvent(first+place, to.user(place), push)
		}
		body := strings.Join(events, ",")
		if batch > 1 {
			body = "[" + body + "]"
		}
		all = append(all, request{body: []byte(body), first: at, count: count})
	}
	return all
}

// A provider is a push provider.
type provider string

// The providers.
const (
	apns provider = "apns"
	fcm  provider = "fcm"
)

// title returns the provider's display name.
func (p provider) title() string {
	if p == apns {
		return "APNs"
	}
	return "FCM"
}

// token returns the token of a user's only device, of the length and alphabet
// that the provider's tokens have.
func (p provider) token(user int64) string {
	sum := sha256.Sum256([]byte("device of " + strconv.FormatInt(user, 10)))
	if p == apns {
		return hex.EncodeToString(sum[:])
	}
	text := base64.RawURLEncoding.EncodeToString(sum[:])
	return text[:22] + ":APA91b" + text + text + text + text[:5]
}

// secret returns the token that a user signs in with. Nobody can guess it: the gateway may
// be open to others.
func secret(user int64) string { return strconv.FormatInt(user, 10) + "-" + secretOfRun }

var secretOfRun = rand.Text()

// eventID returns the id of the event with a number.
func eventID(number int64) string { return "trx-" + strconv.FormatInt(number, 10) + "-paid" }
