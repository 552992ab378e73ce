package inbox

// inboxes is a sorted set, kept as long as the conversations: conversation id to
// a number that sorts as its newest message's id does.
func (k userKeys) inboxes() string { return string(k) + "inboxes" }

// unreadInboxes is a sorted set: the part of inboxes that has unread messages.
func (k userKeys) unreadInboxes() string { return string(k) + "inboxes:unread" }

// conversation is a hash, kept until the conversation is deleted: partner.
func (k userKeys) conversation(id string) string { return string(k) + "c:" + id }

// messages is a sorted set: the ids of a conversation's messages in this user's
// copy, all with score 0, so that they sort by id.
func (k userKeys) messages(conversation string) string {
	return k.conversation(conversation) + ":messages"
}

// received is a sorted set like messages: those that this user has not read.
func (k userKeys) received(conversation string) string {
	return k.conversation(conversation) + ":unread"
}

// sent is a sorted set like messages: those that the partner has not read.
func (k userKeys) sent(conversation string) string {
	return k.conversation(conversation) + ":unseen"
}

// gone is a string, expiring after tombstoneTTL: an id; when the partner was
// erased, nothing in this conversation came after it, and what still does is dropped.
func (k userKeys) gone(conversation string) string { return k.conversation(conversation) + ":gone" }

// bodies is a hash: message id to storedMessage as JSON.
func (k userKeys) bodies() string { return string(k) + "messages" }

// words is a sorted set, all scores 0: "WORD\x00ID CONVERSATION" of every word of
// every message, so that a search is a range.
func (k userKeys) words() string { return string(k) + "words" }

// trash is a set: keys of what messages was before a conversation was deleted,
// until their bodies are gone.
func (k userKeys) trash() string { return string(k) + "trash" }

// contacts is a hash, kept for ever: "ROLE:PARTNER:TRANSACTION", ROLE being the
// partner's, to storedContact as JSON.
func (k userKeys) contacts() string { return string(k) + "contacts" }

// recentContacts is a sorted set, kept for ever: the fields of contacts, scored
// with the order of the transaction's newest state.
func (k userKeys) recentContacts() string { return string(k) + "contacts:recent" }

// partners is a set, kept for ever: those to whom this user has sent a message. It
// is how erasing finds the words that they keep.
func (k userKeys) partners() string { return string(k) + "partners" }

// erasures is a sorted set of a partition: users that are being erased, scored with
// the moment, in milliseconds, at which somebody else than the request that began
// it goes on.
func (b *base) erasures(partition int) string { return b.parts.Key(partition, "erasures") }

// heads is a hash, kept for ever: conversation id to the id of the newest message
// that this copy was given, also after it was deleted.
func (k userKeys) heads() string { return string(k) + "heads" }

// pending is a sorted set, all scores 0, in the first copy of a conversation: what
// its second copy has not been given yet, "ID HANDOFF" without the space.
func (k userKeys) pending(conversation string) string {
	return k.conversation(conversation) + ":pending"
}

// handoffs is a sorted set of a partition: what is to be told to a partner, scored
// with the moment, in milliseconds, at which somebody else than the request that
// left it does so.
func (b *base) handoffs(partition int) string { return b.parts.Key(partition, "handoffs") }
