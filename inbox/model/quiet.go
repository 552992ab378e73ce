package model

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Clock is a time of day, in minutes after midnight: 0 to 1,439.
type Clock int

const minutesADay = 24 * 60

// ErrClock reports that a text is not a time of day.
var ErrClock = errors.New("must be a time of day such as 22:00")

// ParseClock parses hours and minutes, from 00:00 to 23:59. The error is ErrClock.
func ParseClock(s string) (Clock, error) {
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, ErrClock
	}
	return clockOf(t), nil
}

func clockOf(t time.Time) Clock { return Clock(t.Hour()*60 + t.Minute()) }

// String returns the form that ParseClock reads, with two digits each.
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", int(c)/60, int(c)%60) }

// QuietHours are the hours of every day in which a user's promotions wait: from From up
// to, and without, To. They may span midnight. When both are equal, as in the zero value,
// there are none.
type QuietHours struct{ From, To Clock }

// None reports whether there are no quiet hours.
func (q QuietHours) None() bool { return q.From == q.To }

// has reports whether a time of day is in the quiet hours.
func (q QuietHours) has(c Clock) bool {
	if q.From < q.To {
		return q.From <= c && c < q.To
	}
	return !q.None() && (q.From <= c || c < q.To)
}

// End returns when the quiet hours end if now, in its own zone, is in quiet hours, and
// else false. Where clocks are put forward over To, they end within that hour.
func (q QuietHours) End(now time.Time) (time.Time, bool) {
	c := clockOf(now)
	if !q.has(c) {
		return time.Time{}, false
	}
	minutes := (q.To - c + minutesADay) % minutesADay
	end := now.Truncate(time.Minute).Add(time.Duration(minutes) * time.Minute)
	_, before := now.Zone()
	_, after := end.Zone()
	// If clocks are changed in between, the clock does not show To after these minutes.
	if sameClock := end.Add(time.Duration(before-after) * time.Second); !q.has(clockOf(sameClock)) && sameClock.After(now) {
		end = sameClock
	}
	return end, true
}

// Pause returns the time from the end of the quiet hours to the next ones. It is a whole
// day when there are none.
func (q QuietHours) Pause() time.Duration {
	minutes := (q.From - q.To + minutesADay) % minutesADay
	if minutes == 0 {
		minutes = minutesADay
	}
	return time.Duration(minutes) * time.Minute
}

// String returns "22:00-07:00", or "" for none.
func (q QuietHours) String() string {
	if q.None() {
		return ""
	}
	return q.From.String() + "-" + q.To.String()
}

// ParseQuietHours is the inverse of String. A text that it cannot read means none.
func ParseQuietHours(s string) QuietHours {
	from, to, _ := strings.Cut(s, "-")
	var q QuietHours
	var err1, err2 error
	q.From, err1 = ParseClock(from)
	q.To, err2 = ParseClock(to)
	if err1 != nil || err2 != nil {
		return QuietHours{}
	}
	return q
}

// zoneNames are the names of time zones in Indonesia.
var zoneNames = map[string]string{"WIB": "Asia/Jakarta", "WITA": "Asia/Makassar", "WIT": "Asia/Jayapura"}

// zones caches locations by name. There are only so many.
var zones sync.Map // string to *time.Location

// Zone returns a time zone by its IANA name, or as WIB, WITA or WIT, and false when
// there is no such zone.
func Zone(name string) (*time.Location, bool) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), true
	}
	full, ok := zoneNames[name]
	if !ok {
		full = name
	}
	zone, err := time.LoadLocation(full)
	if err != nil || full == "" || full == "Local" { // Go's own names, for UTC and for the zone of the machine
		return nil, false
	}
	zones.Store(name, zone)
	return zone, true
}
