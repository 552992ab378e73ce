//go:build unix

package edge

import "syscall"

// openFiles returns how many files the process may have open. The runtime has raised the
// limit as far as it may be by then.
func openFiles() (n uint64, ok bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return uint64(limit.Cur), true
}
