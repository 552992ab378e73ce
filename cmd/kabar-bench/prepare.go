package main

import (
	"context"
	"fmt"
	"os"
)

// prepare makes the folder for profiles, and builds the daemon unless one is
// given. clean removes what was built.
func prepare(ctx context.Context, e *env, kabar, profiles string) (binary string, clean func(), err error) {
	if profiles != "" {
		if err := os.MkdirAll(profiles, 0o755); err != nil {
			return "", nil, fmt.Errorf("profile: %w", err)
		}
	}
	if kabar != "" {
		return kabar, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "kabar-bench-build-")
	if err != nil {
		return "", nil, err
	}
	clean = func() { _ = os.RemoveAll(dir) }
	e.progress("building the daemon")
	if binary, err = buildDaemon(ctx, dir); err != nil {
		clean()
		return "", nil, err
	}
	return binary, clean, nil
}

// A bounded is a flag whose number has bounds.
type bounded struct {
	flag        string
	n, min, max int
}

// within checks the bounds of flags.
func within(flags []bounded) error {
	for _, f := range flags {
		if f.n < f.min || f.n > f.max {
			return fmt.Errorf("--%s must be between %d and %d", f.flag, f.min, f.max)
		}
	}
	return nil
}
