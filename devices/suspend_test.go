package devices

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// Suspend suspends a device as delivery does, if it is still of the generation of d.
func (r *Registry) Suspend(ctx context.Context, user int64, d Device, reason string) error {
	listed, err := r.List(ctx, user)
	i := slices.IndexFunc(listed, func(l Device) bool { return l.ID == d.ID && l.Generation == d.Generation })
	if err != nil || i < 0 {
		return err
	}
	after := listed[i]
	after.Suspended = reason
	_, _, err = r.Change(ctx, user, listed[i], after)
	return err
}

// A suspended registration stays suspended until the device registers again.
func TestSuspend(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		ctx := context.Background()
		r := s.registry(Options{})
		old, err := r.Register(ctx, 1, Device{Platform: Android, Token: "A", Model: `quo"te`}, nil)
		check(t, err)
		first, err := r.Register(ctx, 1, Device{Platform: Android, Token: "A", Model: `quo"te`}, nil)
		check(t, err)

		reason := func() string {
			t.Helper()
			listed, err := r.List(ctx, 1)
			check(t, err)
			if len(listed) != 1 || listed[0].Generation < first.Generation || listed[0].Model != `quo"te` {
				t.Fatalf("listed %+v", listed)
			}
			return listed[0].Suspended
		}
		check(t, r.Suspend(ctx, 1, old, "MISMATCH"))
		if got := reason(); got != "" {
			t.Errorf("an old generation suspended the device: %q", got)
		}
		check(t, r.Suspend(ctx, 2, first, "MISMATCH"))
		for range 2 { // repeated, as after a lost reply
			check(t, r.Suspend(ctx, 1, first, "MISMATCH"))
		}
		if entry := s.Client.HGet(ctx, r.ListKey(1), first.ID).Val(); strings.Count(entry, `"s":`) != 1 {
			t.Errorf("listed %s", entry)
		}
		if got := reason(); got != "MISMATCH" {
			t.Errorf("suspended with %q", got)
		}

		before := only(t, r, 1)
		tried := before
		tried.TriedAt, tried.AcceptedDay = 1764353700123, 20420
		if !amend(t, r, 1, before, tried) {
			t.Error("not amended")
		}
		for i, want := range []bool{true, false} {
			if got, err := r.Unsuspend(ctx, 1, first.ID); got != want || err != nil {
				t.Errorf("call %d: %t, %v", i+1, got, err)
			}
		}
		tried.Suspended, tried.TriedAt = "", 0
		wantList(t, r, 1, tried)
		if _, err := r.Unsuspend(ctx, 2, first.ID); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("another user's device: %v", err)
		}

		check(t, r.Suspend(ctx, 1, first, "MISMATCH"))
		_, err = r.Replace(ctx, 1, "A", Device{Platform: Android, Token: "B"})
		check(t, err)
		if got := reason(); got != "" {
			t.Errorf("still suspended with a new token: %q", got)
		}
	})
}
