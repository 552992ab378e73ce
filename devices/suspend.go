package devices

import (
	"context"
	"fmt"
)

// Suspend keeps a device out of sending until it registers again: its provider
// says that the token belongs to another project. It acts on the generation of d
// alone, and does nothing when the device was registered anew or is gone.
func (r *Registry) Suspend(ctx context.Context, user int64, d Device, reason string) error {
	if d.Suspended != "" {
		return nil
	}
	keys := []string{r.keys.devices(user)}
	if _, err := r.batcher.Run(ctx, suspendScript, keys, d.ID, d.Generation, reason); err != nil {
		return fmt.Errorf("suspend device: %w", err)
	}
	return nil
}
