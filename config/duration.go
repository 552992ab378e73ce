package config

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

// Duration is a time.Duration that is written in Go's syntax (1h30m, 500ms) or
// in whole weeks and days (1w, 90d). A day is 24 hours.
type Duration time.Duration

const day = Duration(24 * time.Hour)

// String returns the duration as it would be written: in days beyond a week,
// when it is whole days, else in Go's syntax without zeros at the end.
func (d Duration) String() string {
	if d > 7*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := time.Duration(d).String()
	if d != 0 && d%Duration(time.Minute) == 0 {
		text = text[:len(text)-len("0s")]
	}
	if d != 0 && d%Duration(time.Hour) == 0 {
		text = text[:len(text)-len("0m")]
	}
	return text
}

// MarshalText makes files and JSON show what String returns.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func parseDuration(text string) (Duration, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return Duration(d), nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, errors.New("must be a number with a unit, like 90s, 24h or 7d")
	}
	return Duration(d), nil
}
