package model

import (
	"errors"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"00:00": "00:00", "7:05": "07:05", "23:59": "23:59",
		"24:00": "", "22": "", "22:0": "", "": "", "-1:00": "", "22:00:00": "", " 22:00": "",
	} {
		c, err := ParseClock(text)
		if (err == nil) != (want != "") || err == nil && c.String() != want || err != nil && !errors.Is(err, ErrClock) {
			t.Errorf("%q: %s, %v; want %q", text, c, err, want)
		}
	}
}

func TestQuietHoursEnd(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		hours, zone, now, end string // end is "" if now is not quiet
	}{
		{"22:00-07:00", "WIB", "2026-11-22T21:59:59+07:00", ""},
		{"22:00-07:00", "WIB", "2026-11-22T22:00:00+07:00", "2026-11-23T07:00:00+07:00"},
		{"22:00-07:00", "WIB", "2026-11-23T06:59:59+07:00", "2026-11-23T07:00:00+07:00"},
		{"22:00-07:00", "WIB", "2026-11-23T07:00:00+07:00", ""},
		{"22:00-07:00", "WITA", "2026-11-23T06:30:00+07:00", ""}, // 07:30 in that zone
		{"22:00-07:00", "WITA", "2026-11-22T21:30:00+07:00", "2026-11-23T06:00:00+07:00"},
		{"22:00-07:00", "WIT", "2026-11-22T20:00:00+07:00", "2026-11-23T05:00:00+07:00"},
		{"13:00-14:00", "Asia/Jakarta", "2026-11-22T13:30:29+07:00", "2026-11-22T14:00:00+07:00"},
		{"13:00-14:00", "Asia/Jakarta", "2026-11-22T12:00:00+07:00", ""},
		{"", "WIB", "2026-11-22T23:00:00+07:00", ""},
		// Clocks are moved from 02:00 to 03:00 on March 8, and from 02:00 to 01:00 on
		// November 1.
		{"22:00-07:00", "America/New_York", "2026-03-07T23:00:00-05:00", "2026-03-08T07:00:00-04:00"},
		{"22:00-07:00", "America/New_York", "2026-10-31T23:00:00-04:00", "2026-11-01T07:00:00-05:00"},
		{"22:00-03:00", "America/New_York", "2026-03-08T01:59:00-05:00", "2026-03-08T03:00:00-04:00"},
		{"22:00-02:30", "America/New_York", "2026-03-08T01:00:00-05:00", "2026-03-08T03:30:00-04:00"}, // because 02:30 does not exist
		{"22:00-01:30", "America/New_York", "2026-11-01T01:15:00-04:00", "2026-11-01T01:30:00-04:00"},
		{"22:00-01:30", "America/New_York", "2026-11-01T01:15:00-05:00", "2026-11-01T01:30:00-05:00"}, // the second 01:30
	} {
		zone, ok := Zone(tc.zone)
		if !ok {
			t.Fatalf("no zone %s", tc.zone)
		}
		now, err := time.Parse(time.RFC3339, tc.now)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if end, quiet := ParseQuietHours(tc.hours).End(now.In(zone)); quiet {
			got = end.Format(time.RFC3339)
			want, err := time.Parse(time.RFC3339, tc.end)
			if err == nil && end.Equal(want) {
				continue
			}
		}
		if got != tc.end {
			t.Errorf("%s %s at %s: until %q, want %q", tc.hours, tc.zone, tc.now, got, tc.end)
		}
	}
}

// Quiet hours end at a later time that is not quiet, and soon after the first such time.
// This holds when clocks are changed, too. If an hour is skipped or repeated, the first
// minute that is not quiet may be part of it.
func TestQuietHoursAlwaysEnd(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"America/New_York", "Australia/Lord_Howe", "Asia/Jakarta"} {
		zone, _ := Zone(name)
		for _, day := range []time.Time{ // days on which clocks change in one of the zones
			time.Date(2026, 3, 8, 0, 0, 0, 0, zone), time.Date(2026, 11, 1, 0, 0, 0, 0, zone),
			time.Date(2026, 4, 5, 0, 0, 0, 0, zone), time.Date(2026, 10, 4, 0, 0, 0, 0, zone),
		} {
			for _, q := range []QuietHours{{22 * 60, 7 * 60}, {90, 150}, {60, 120}, {150, 90}, {30, 105}, {0, 1}} {
				for minute := -120; minute < 360; minute += 7 {
					now := day.Add(time.Duration(minute)*time.Minute + 29*time.Second)
					end, quiet := q.End(now)
					if quiet != q.has(clockOf(now)) {
						t.Fatalf("%s at %s: quiet %t", q, now, quiet)
					}
					if !quiet {
						continue
					}
					first := now.Truncate(time.Minute)
					for q.has(clockOf(first)) {
						first = first.Add(time.Minute)
					}
					if !end.After(now) || q.has(clockOf(end)) || end.Before(first) || end.Sub(first) > 90*time.Minute {
						t.Errorf("%s at %s: until %s, not quiet from %s", q, now, end, first)
					}
				}
			}
		}
	}
}

func TestZone(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"WIB": "Asia/Jakarta", "WITA": "Asia/Makassar", "WIT": "Asia/Jayapura", "Europe/Berlin": "Europe/Berlin",
		"": "", "Local": "", "Mars/Olympus": "", "../etc/passwd": "",
	} {
		for range 2 {
			zone, ok := Zone(name)
			if ok != (want != "") || ok && zone.String() != want {
				t.Errorf("%q: %v, %t; want %q", name, zone, ok, want)
			}
		}
	}
}
