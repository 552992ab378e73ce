package model

import "time"

// UnknownBadge stands for the badge of a push that may have arrived.
const UnknownBadge = -2

// A Shade is what a user's devices show.
type Shade struct {
	At      time.Time // by Redis' clock
	Shown   []Shown
	Screens map[string]Screen // of iPhones that were pushed to, by device
	Err     error             // then the rest is not set
}

// Shown is a notification that a device shows, or has shown until it was told that it is read.
type Shown struct {
	Device, Tag, ID string
	Read            bool
	Told            bool // and it is read
}

// A Screen is what else is known of an iPhone's screen.
type Screen struct {
	Badge       int          // the newest one; -1 when nobody knows it
	Backgrounds [2]time.Time // when the last two background pushes were accepted; zero: never
}

// Telling is what a device was told.
type Telling struct {
	Device     string
	Badge      int // -1: none
	Background bool
	Read       []Shown // what it was told about
	More       bool    // there is more to tell
	// Owed, unless nil, says whether something waits for the next push that is shown.
	Owed *bool
}
