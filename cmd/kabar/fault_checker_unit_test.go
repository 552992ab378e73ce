package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A small history without violations: user 1 has a phone and two events, and has read the
// first; user 7 writes two messages to user 8, who has a socket and has read the first;
// token M moved from user 1 to user 2. Each case of TestCheckerFinds introduces one
// violation.
type history struct {
	*checker
	start                 time.Time
	listed                []string // of user 1
	read                  map[string]bool
	unread                int
	pushes                []string // tags of the pushes of e1 on A1
	held                  []shownMessage
	frames                [][2]int64 // seq and prev
	newestFrame           int64
	lastFor               int // the user whose push arrives on M at the end
	lastSent, lastArrived int // seconds from the start
	probed                bool
	letterBuried          string
}

func newHistory() *history {
	return &history{
		checker: newChecker(), start: time.Now(), listed: []string{"e1", "e2"}, read: map[string]bool{"e1": true}, unread: 1,
		pushes: []string{"tag"}, frames: [][2]int64{{11, 10}, {12, 11}}, newestFrame: 12, probed: true,
		lastFor: 2, lastSent: 102, lastArrived: 103,
		held: []shownMessage{{"id1", "m1", 7, true}, {"id2", "m2", 7, false}},
	}
}

// tell records the history in a checker, and returns the kinds of violations that it finds.
func (h *history) tell() []string {
	at := func(seconds int) time.Time { return h.start.Add(time.Duration(seconds) * time.Second) }
	h.owns(1, "A1")
	for _, id := range []string{"e1", "e2"} {
		h.sendEvent(id, at(0), false, 1)
		h.eventAcked(id, at(1), 1)
	}
	h.askRead(1, "e1")
	h.readAcked(1, "e1")
	for _, tag := range h.pushes {
		h.pushed("A1", 1, "e1", tag, at(1))
	}
	h.pushed("A1", 1, "e2", "tag2", at(1))
	for _, id := range h.listed {
		h.list(1, id, h.read[id])
	}
	h.counters(1, h.unread, 0)

	for user := 1; user <= 2; user++ {
		n := h.register("M", user, at(10*user))
		h.registered("M", n, acknowledged, at(10*user+1))
	}
	h.sendEvent("probe", at(100), true, 2)
	h.eventAcked("probe", at(101), 2)
	h.list(2, "probe", false)
	if h.probed {
		h.pushed("M", 2, "probe", "tag", at(102))
	}
	h.sendEvent("last", at(h.lastSent), false, h.lastFor)
	h.pushed("M", h.lastFor, "last", "tag", at(h.lastArrived))

	h.tellChat()
	var kinds []string
	for _, v := range h.verdict() {
		kinds = append(kinds, v.kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

func (h *history) tellChat() {
	for i, id := range []string{"id1", "id2"} {
		clientID := fmt.Sprint("m", i+1)
		h.sendMessage(clientID, 7, 8)
		h.messageAcked(clientID, id)
	}
	h.askReadUpTo(8, 7, "id1")
	h.readUpToAcked(8, 7, "id1")
	h.show(7, 8, []shownMessage{{"id1", "m1", 7, true}, {"id2", "m2", 7, false}})
	h.show(8, 7, h.held)
	h.counters(8, 0, 1)
	h.greeted("socket", 10)
	for i, f := range h.frames {
		h.frame("socket", f[0], f[1], "c", fmt.Sprint("id", i+1))
	}
	h.newest("socket", h.newestFrame)
	if h.letterBuried != "" {
		h.bury(h.letterBuried)
	}
}

func TestCheckerIsContent(t *testing.T) {
	for name, change := range map[string]func(h *history){
		"with what is well":                 func(*history) {},
		"with a push that is repeated":      func(h *history) { h.pushes = []string{"tag", "tag"} },
		"with what was already on the wire": func(h *history) { h.lastFor, h.lastSent, h.lastArrived = 1, 5, 25 },
	} {
		h := newHistory()
		change(h)
		if kinds := h.tell(); len(kinds) > 0 {
			t.Errorf("%s: %v", name, kinds)
		}
	}
}

func TestCheckerFinds(t *testing.T) {
	for want, spoil := range map[string]func(h *history){
		eventLost:        func(h *history) { h.listed, h.unread = []string{"e1"}, 0 },
		eventDoubled:     func(h *history) { h.listed = append(h.listed, "e2") },
		eventUnknown:     func(h *history) { h.listed = append(h.listed, "e3") },
		counterWrong:     func(h *history) { h.unread = 2 },
		pushMissing:      func(h *history) { h.pushes = nil },
		pushRepeated:     func(h *history) { h.pushes = slices.Repeat(h.pushes, maxCopies+1) },
		pushRetagged:     func(h *history) { h.pushes = append(h.pushes, "another") },
		pushBuried:       func(h *history) { h.letterBuried = "poison" },
		wrongOwner:       func(h *history) { h.lastFor = 1 },
		registrationLost: func(h *history) { h.probed = false },
		readLost:         func(h *history) { h.read["e1"], h.unread = false, 2 },
		readUnasked:      func(h *history) { h.read["e2"], h.unread = true, 0 },
		messageLost:      func(h *history) { h.held = slices.Concat(h.held[:0:0], h.held[1:]) },
		messageDoubled:   func(h *history) { h.held = append(h.held[:1:1], shownMessage{"id12", "m1", 7, true}, h.held[1]) },
		messageUnknown:   func(h *history) { h.held = append(h.held, shownMessage{"id3", "m3", 7, true}) },
		messageDisorder:  func(h *history) { h.held = []shownMessage{h.held[1], h.held[0]} },
		socketGap:        func(h *history) { h.frames[1] = [2]int64{12, 9} },
		socketRepeat:     func(h *history) { h.frames = append(h.frames, h.frames[1]) },
		unforeseen:       func(h *history) { h.answered500("500 internal", 1) },
		sharedFate:       func(h *history) { h.suffered(1, "503 unavailable") },
		socketBehind:     func(h *history) { h.newestFrame = 13 },
	} {
		h := newHistory()
		spoil(h)
		if kinds := h.tell(); !slices.Contains(kinds, want) {
			t.Errorf("%s is not found, but %v", want, kinds)
		}
	}
}
