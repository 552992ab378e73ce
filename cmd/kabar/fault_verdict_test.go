package main

import (
	"maps"
	"slices"
	"time"
)

// list records that an event is in a user's list.
func (c *checker) list(user int, event string, read bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.events[eventKey{event, user}]
	if e == nil {
		c.violate(eventUnknown, "%s is in the list of user %d", event, user)
		return
	}
	e.listed++
	e.read = read
}

// counters records a user's counters.
func (c *checker) counters(user, notifications, messages int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread[user], c.unseen[user] = notifications, messages
}

// show records a user's copy of a conversation, the oldest message first.
func (c *checker) show(user, partner int, messages []shownMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.copies[copyKey{user, partner}] = messages
}

// newest records the sequence number of the newest frame for a socket's user.
func (c *checker) newest(name string, seq int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.socket(name); s.at != seq {
		c.violate(socketBehind, "%s is at %d, the newest frame is %d", name, s.at, seq)
	}
}

// bury records a dead letter. The suite's providers accept every push, so there should be
// none.
func (c *checker) bury(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buried = append(c.buried, reason)
}

// answered500 records answers 500, which stand for errors that Kabar does not handle.
func (c *checker) answered500(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violate(unforeseen, "%s: %d times", what, n)
}

// suffered records that a user was refused because another user's shard was away.
func (c *checker) suffered(user int, answer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violate(sharedFate, "user %d: %s", user, answer)
}

// verdict compares all records, once, after the load has ended and the inboxes were read.
func (c *checker) verdict() []violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judgeEvents()
	c.judgeTokens()
	c.judgeMessages()
	for _, reason := range c.buried {
		c.violate(pushBuried, "%s", reason)
	}
	return c.found
}

func (c *checker) judgeEvents() {
	unread := make(map[int]int)
	for key, e := range c.events {
		switch {
		case e.listed == 0 && !e.acked.IsZero():
			c.violate(eventLost, "%s of user %d", key.id, key.receiver)
		case e.listed > 1:
			c.violate(eventDoubled, "%s of user %d: %d times", key.id, key.receiver, e.listed)
		}
		if e.listed > 0 {
			c.judgeRead(key, e)
			if !e.read {
				unread[key.receiver]++
			}
		}
		if !e.acked.IsZero() {
			for _, token := range c.stable[key.receiver] {
				if e.pushes[token] == 0 {
					c.violate(pushMissing, "%s of user %d at %s", key.id, key.receiver, token)
				}
			}
		}
		for token, n := range e.pushes {
			if n > maxCopies {
				c.violate(pushRepeated, "%s of user %d at %s: %d times", key.id, key.receiver, token, n)
			}
		}
	}
	for user, n := range c.unread {
		if n != unread[user] {
			c.violate(counterWrong, "user %d: %d unread notifications are counted, %d listed", user, n, unread[user])
		}
	}
}

func (c *checker) judgeRead(key eventKey, e *eventAccount) {
	switch {
	case e.readAcked && !e.read:
		c.violate(readLost, "%s of user %d", key.id, key.receiver)
	case e.read && !e.readAsked:
		c.violate(readUnasked, "%s of user %d", key.id, key.receiver)
	}
}

func (c *checker) judgeTokens() {
	for token, t := range c.tokens {
		for _, p := range t.pushes {
			sent := p.at
			if e := c.events[p.event]; e != nil {
				sent = e.sent
			}
			if !t.mayBelong(p.event.receiver, sent, p.at) {
				c.violate(wrongOwner, "%s for user %d on %s", p.event.id, p.event.receiver, token)
			}
		}
		owner := t.owner()
		for key, e := range c.events {
			if e.probe && key.receiver == owner && e.pushes[token] == 0 {
				c.violate(registrationLost, "%s of user %d: no push of %s", token, owner, key.id)
			}
		}
	}
}

// owner returns the owner of a token when no request is in flight: the user of the last
// acknowledged registration.
func (t *tokenAccount) owner() (user int) {
	for _, r := range t.registrations {
		if r.outcome == acknowledged {
			user = r.user
		}
	}
	return user
}

// mayBelong reports whether a push to a user may have been attempted while the user owned
// the token. An event that was published after another user's registration was answered
// cannot have been on the wire before.
func (t *tokenAccount) mayBelong(user int, sent, arrived time.Time) bool {
	begun := arrived.Add(-wireTime)
	if sent.After(begun) {
		begun = sent
	}
	return slices.ContainsFunc(t.registrations, func(own registration) bool {
		if own.user != user || own.begun.After(arrived) {
			return false
		}
		applied := own.ended // at the latest
		if own.outcome == unanswered {
			applied = arrived
			if !own.ended.IsZero() {
				applied = own.ended.Add(lateTime)
			}
		}
		return !slices.ContainsFunc(t.registrations, func(next registration) bool {
			return next.user != user && next.outcome == acknowledged && next.begun.After(applied) && next.ended.Before(begun)
		})
	})
}

func (c *checker) judgeMessages() {
	held := make(map[copyKey]map[string]int) // by client id
	for key, messages := range c.copies {
		held[key] = make(map[string]int)
		c.judgeCopy(key, messages)
		for _, m := range messages {
			held[key][m.clientID]++
		}
	}
	for clientID, m := range c.messages {
		for _, key := range []copyKey{{m.from, m.to}, {m.to, m.from}} {
			switch n := held[key][clientID]; {
			case n == 0 && m.id != "":
				c.violate(messageLost, "%s is not in the copy of user %d", clientID, key.user)
			case n > 1:
				c.violate(messageDoubled, "%s is in the copy of user %d %d times", clientID, key.user, n)
			}
		}
	}
	unseen := make(map[int]int)
	for key, messages := range c.copies {
		for _, m := range messages {
			if m.sender != key.user && !m.read {
				unseen[key.user]++
			}
		}
	}
	for user, n := range c.unseen {
		if n != unseen[user] {
			c.violate(counterWrong, "user %d: %d unread messages are counted, %d shown", user, n, unseen[user])
		}
	}
}

// judgeCopy checks one user's copy of a conversation.
func (c *checker) judgeCopy(key copyKey, messages []shownMessage) {
	reads := c.reads[key]
	if reads == nil {
		reads = &readAccount{}
	}
	last := ""
	for _, m := range messages {
		sent := c.messages[m.clientID]
		switch {
		case sent == nil:
			c.violate(messageUnknown, "%s in the copy of user %d", m.id, key.user)
		case sent.id != "" && sent.id != m.id:
			c.violate(messageDoubled, "%s was acknowledged as %s and is %s", m.clientID, sent.id, m.id)
		}
		if m.id <= last {
			c.violate(messageDisorder, "%s after %s in the copy of user %d", m.id, last, key.user)
		}
		last = m.id
		if m.sender == key.user {
			continue
		}
		switch {
		case !m.read && m.id <= reads.acked:
			c.violate(readLost, "message %s of user %d", m.id, key.user)
		case m.read && m.id > reads.asked:
			c.violate(readUnasked, "message %s of user %d", m.id, key.user)
		}
	}
}

// byKind counts violations by kind, and returns the kinds sorted.
func byKind(found []violation) (kinds []string, count map[string]int) {
	count = make(map[string]int)
	for _, v := range found {
		count[v.kind]++
	}
	return slices.Sorted(maps.Keys(count)), count
}
