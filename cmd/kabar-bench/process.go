package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// processInfo returns a file of /proc/PID where there is /proc, as on Linux, and
// elsewhere, as on macOS, a column of ps. The error says that the process has gone, or
// what ps said.
func processInfo(ctx context.Context, pid int, name, column string) (file []byte, ps string, err error) {
	file, err = os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err == nil {
		return file, "", nil
	}
	if _, e := os.Stat("/proc/self/" + name); e == nil {
		return nil, "", err
	}
	out, err := exec.CommandContext(ctx, "ps", "-o", column, "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil, "", fmt.Errorf("ps: %w", err)
	}
	return nil, string(out), nil
}
