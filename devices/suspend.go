package devices

import (
	"context"
	"fmt"
	"slices"
)

// Unsuspend lets pushes go to a suspended device again, and reports whether it was
// suspended. The error is [ErrNotRegistered] when the user has no device with this id, or
// Redis'.
func (r *Registry) Unsuspend(ctx context.Context, user int64, id string) (bool, error) {
	for range maxAmendTries {
		list, err := r.List(ctx, user)
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(list, func(d Device) bool { return d.ID == id })
		if i < 0 {
			return false, ErrNotRegistered
		}
		if list[i].Suspended == "" {
			return false, nil
		}
		after := list[i]
		after.Suspended, after.TriedAt = "", 0
		keys, args := r.Amend(user, list[i], after)
		done, err := r.runBool(ctx, amendScript, keys, args...)
		if err != nil {
			return false, fmt.Errorf("unsuspend device: %w", err)
		}
		if done {
			return true, nil
		}
	}
	return false, fmt.Errorf("unsuspend device: %w", errBusy)
}
