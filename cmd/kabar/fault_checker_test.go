package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A checker records what Kabar acknowledged and what phones, sockets and inboxes then
// showed, and reports the differences. It uses neither Redis nor Kabar's code: the clients
// of the load record everything here. It is safe for concurrent use.
type checker struct {
	// failsOver: a failover may lose data that was not acknowledged. mayLose: it may lose
	// acknowledged data, too.
	failsOver, mayLose bool
	meter              *meter // unless nil, measures when pushes arrive

	mu       sync.Mutex
	events   map[eventKey]*eventAccount
	unread   map[int]int // each user's counter of notifications, as read
	stable   map[int][]string
	tokens   map[string]*tokenAccount
	messages map[string]*messageAccount // by client id
	copies   map[copyKey][]shownMessage
	unseen   map[int]int // each user's counter of messages, as read
	reads    map[copyKey]*readAccount
	sockets  map[string]*socketAccount
	buried   []string // reasons of dead letters
	found    []violation
	total    tally
}

// A violation is a difference between what was acknowledged and what was seen.
type violation struct{ kind, text string }

// The kinds of violations.
const (
	eventLost        = "event lost"
	eventDoubled     = "event listed twice"
	eventUnknown     = "event that nobody sent"
	counterWrong     = "counter differs from the set"
	pushMissing      = "push missing"
	pushRepeated     = "push repeated too often"
	pushRetagged     = "push repeated under another tag"
	pushBuried       = "push buried"
	wrongOwner       = "push on somebody else's phone"
	registrationLost = "registration lost"
	readLost         = "read mark lost"
	readUnasked      = "read mark that nobody made"
	messageLost      = "message lost"
	messageDoubled   = "message doubled"
	messageUnknown   = "message that nobody sent"
	messageDisorder  = "message out of order"
	socketGap        = "socket missed a frame"
	socketRepeat     = "socket got a frame twice"
	socketBehind     = "socket deaf"
	unforeseen       = "answered with 500"
	sharedFate       = "refused because of another shard"
)

// losses are the kinds of violations that mean lost acknowledged data. A failover without
// redis.wait_replicas may cause them.
var losses = []string{eventLost, pushMissing, registrationLost, readLost, messageLost, socketGap, socketBehind, wrongOwner, messageDisorder,
	pushRetagged} // a lost event that is published again becomes another notification

// maxCopies is how often one push may reach one phone. Each fault may repeat a push once,
// and an event seldom overlaps with two faults.
const maxCopies = 3

// wireTime is how long after a change of owner a push may still arrive that was attempted
// before: half a lease, plus the longest time for which a fault stops a process.
const wireTime = 10 * time.Second

// lateTime is how long a registration without an answer may take to be applied.
const lateTime = 15 * time.Second

type eventKey struct {
	id       string
	receiver int
}

type eventAccount struct {
	sent, acked          time.Time
	listed               int
	read                 bool // as the list says
	readAsked, readAcked bool
	pushes               map[string]int // by token
	tag                  string
	tagLost              bool // the tag is older than the acknowledgement
	probe                bool // its pushes show who owns the moving tokens
}

// A tokenAccount is the history of a token that moves between users.
type tokenAccount struct {
	registrations []registration
	pushes        []tokenPush
}

// A registration is a request to register a token. Without an answer it may or may not have
// been applied.
type registration struct {
	user         int
	begun, ended time.Time
	outcome      outcome
}

type outcome int

const (
	unanswered outcome = iota
	refused            // may have been applied, but is not applied later
	acknowledged
)

type tokenPush struct {
	event eventKey
	at    time.Time
}

type messageAccount struct {
	from, to int
	id       string // set when acknowledged
}

// A copyKey is one user's copy of the conversation with another.
type copyKey struct{ user, partner int }

type shownMessage struct {
	id, clientID string
	sender       int
	read         bool
}

// A readAccount is the last message up to which a user asked to mark a conversation as
// read, and the last one for which that was acknowledged.
type readAccount struct{ asked, acked string }

type socketAccount struct {
	at      int64 // the sequence number of the newest frame
	started bool
	frames  int
	newest  map[string]string // by conversation
}

// A tally is the account in numbers.
type tally struct {
	events, messages, reads, registrations int // acknowledged
	pushes, repeats, frames, resyncs       int
	shownTwice                             int
}

func newChecker() *checker {
	return &checker{
		events: make(map[eventKey]*eventAccount), unread: make(map[int]int), stable: make(map[int][]string),
		tokens: make(map[string]*tokenAccount), messages: make(map[string]*messageAccount),
		copies: make(map[copyKey][]shownMessage), unseen: make(map[int]int), reads: make(map[copyKey]*readAccount),
		sockets: make(map[string]*socketAccount),
	}
}

func (c *checker) violate(kind, format string, args ...any) {
	c.found = append(c.found, violation{kind, fmt.Sprintf(format, args...)})
}

// counts returns the current numbers.
func (c *checker) counts() tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// owns records that a token belongs to a user for the whole trial: every event must reach
// it.
func (c *checker) owns(user int, token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stable[user] = append(c.stable[user], token)
}

// sendEvent records that an event is about to be published for the first time.
func (c *checker) sendEvent(id string, at time.Time, probe bool, receivers ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, user := range receivers {
		c.events[eventKey{id, user}] = &eventAccount{sent: at, probe: probe, pushes: make(map[string]int)}
		for _, token := range c.stable[user] {
			c.meter.expect(token, id, laneOf(id), at)
		}
	}
}

func (c *checker) eventAcked(id string, at time.Time, receivers ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, user := range receivers {
		c.events[eventKey{id, user}].acked = at
		c.total.events++
	}
}

// askRead records a request to mark a notification as read.
func (c *checker) askRead(user int, event string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.events[eventKey{event, user}]; e != nil {
		e.readAsked = true
	}
}

func (c *checker) readAcked(user int, event string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.events[eventKey{event, user}]; e != nil {
		e.readAcked = true
		c.total.reads++
	}
}

// register records a request to register a moving token, and returns the request's number.
func (c *checker) register(token string, user int, at time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tokens[token]
	if t == nil {
		t = &tokenAccount{}
		c.tokens[token] = t
	}
	t.registrations = append(t.registrations, registration{user: user, begun: at})
	return len(t.registrations) - 1
}

func (c *checker) registered(token string, n int, o outcome, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.tokens[token].registrations[n]
	r.outcome, r.ended = o, at
	if o == acknowledged {
		c.total.registrations++
	}
}

// pushed records that a phone received the push of an event.
func (c *checker) pushed(token string, receiver int, event, tag string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.pushes++
	c.meter.arrived(token, event, at)
	if t := c.tokens[token]; t != nil {
		t.pushes = append(t.pushes, tokenPush{eventKey{event, receiver}, at})
	} else if !slices.Contains(c.stable[receiver], token) {
		c.violate(wrongOwner, "%s for user %d on %s", event, receiver, token)
	}
	e := c.events[eventKey{event, receiver}]
	if e == nil {
		return // the push of a message, or a reminder
	}
	switch {
	case len(e.pushes) == 0:
		e.tag, e.tagLost = tag, e.acked.IsZero()
	case tag != e.tag && e.tagLost && c.failsOver:
		c.total.shownTwice++
	case tag != e.tag:
		c.violate(pushRetagged, "%s for user %d: %q, then %q", event, receiver, e.tag, tag)
	}
	e.pushes[token]++
	if e.pushes[token] > 1 {
		c.total.repeats++
	}
}

func (c *checker) sendMessage(clientID string, from, to int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages[clientID] = &messageAccount{from: from, to: to}
}

// messageAcked records the id of a message. A user sends messages to another user one after
// the other, so their ids must increase.
func (c *checker) messageAcked(clientID, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.messages[clientID]
	m.id = id
	c.total.messages++
	key := fmt.Sprintf("sent/%d/%d", m.from, m.to)
	s := c.socket(key)
	if before := s.newest[key]; id <= before {
		c.violate(messageDisorder, "%s of user %d got id %s after %s", clientID, m.from, id, before)
	}
	s.newest[key] = id
}

// askReadUpTo records a request to mark a conversation as read.
func (c *checker) askReadUpTo(user, partner int, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reads[copyKey{user, partner}]
	if r == nil {
		r = &readAccount{}
		c.reads[copyKey{user, partner}] = r
	}
	r.asked = max(r.asked, id)
}

func (c *checker) readUpToAcked(user, partner int, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reads[copyKey{user, partner}]
	r.acked = max(r.acked, id)
	c.total.reads++
}

func (c *checker) socket(name string) *socketAccount {
	s := c.sockets[name]
	if s == nil {
		s = &socketAccount{newest: make(map[string]string)}
		c.sockets[name] = s
	}
	return s
}

// greeted records the first greeting of a socket. Later greetings change nothing, because
// the socket resumes.
func (c *checker) greeted(name string, seq int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.socket(name); !s.started {
		s.started, s.at = true, seq
	}
}

// position returns the position of a socket, and false before its first greeting.
func (c *checker) position(name string) (seq int64, frames int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.socket(name)
	return s.at, s.frames, s.started
}

// frame records a logged frame that a socket received. conversation and message are empty
// for frames of other kinds.
func (c *checker) frame(name string, seq, prev int64, conversation, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.frames++
	s := c.socket(name)
	s.frames++
	switch {
	case seq <= s.at:
		c.violate(socketRepeat, "%s: %d at %d", name, seq, s.at)
		return
	case prev != s.at:
		c.violate(socketGap, "%s: %d follows %d, but the socket is at %d", name, seq, prev, s.at)
	}
	s.at = seq
	if message == "" {
		return
	}
	switch before := s.newest[conversation]; {
	case message == before && c.failsOver:
		c.total.shownTwice++ // a failover lost this copy, and the message was stored in it again
	case message <= before:
		c.violate(messageDisorder, "%s: message %s after %s", name, message, before)
	}
	s.newest[conversation] = message
}

// resync records that a socket was told to fetch everything again.
func (c *checker) resync(name string, seq int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.resyncs++
	c.socket(name).at = seq
}
