package model

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The kinds of frames that scripts publish.
const (
	FrameEvent   = "event"   // logged; Body is the notification's
	FrameMessage = "message" // logged; Body is that of the outbound message's Frame, empty in the log
	FrameUnreads = "unreads" // a counter changed; no body
	FrameRead    = "read"    // Body is the frame of a read receipt
)

// A Frame is news for the live sockets of a user.
type Frame struct {
	Kind      string
	Seq, Prev int64  // sequence numbers of this frame and the one before; 0 when it is not logged
	ID        string // of the notification or message
	Body      string
	// Unreads are the user's counts when the frame was published; nil when the frame carries
	// none, or another number of them than this build knows.
	Unreads *Unreads
}

// ParseFrame parses the payload of a pub/sub message.
func ParseFrame(payload string) (Frame, error) {
	head, body, _ := strings.Cut(payload, "\n")
	fields := strings.Split(head, " ")
	if len(fields) != 4 && len(fields) != 5 {
		return Frame{}, fmt.Errorf("frame %.40q has %d fields, not 4 or 5", head, len(fields))
	}
	f := Frame{Kind: fields[0], ID: fields[3], Body: body}
	var err1, err2, err3 error
	f.Seq, err1 = strconv.ParseInt(fields[1], 10, 64)
	f.Prev, err2 = strconv.ParseInt(fields[2], 10, 64)
	if len(fields) == 5 {
		f.Unreads, err3 = parseUnreads(fields[4])
	}
	return f, errors.Join(err1, err2, err3)
}

// parseUnreads parses the counts of a frame, as publish_with_unreads of common.lua writes them.
func parseUnreads(text string) (*Unreads, error) {
	var u Unreads
	counts := []*int{
		&u.Messages, &u.SellerTransactions, &u.TransactionNews, &u.Notifications, &u.BuyerTransactions,
		&u.CartItems, &u.SellerOffers, &u.BuyerOffers,
	}
	numbers := strings.Split(text, ",")
	if len(numbers) != len(counts) { // another build's
		return nil, nil
	}
	for i, number := range numbers {
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("counts of a frame: %w", err)
		}
		*counts[i] = n
	}
	return &u, nil
}
