package inbox

import (
	"context"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A WrappedStore is the script that stores a notification, with more around it: all of
// it happens in one script, or nothing.
type WrappedStore struct{ script *rdb.Script }

// WrapStore returns a script that begins with before, which may define what the rest
// uses, and goes on with after, which decides whether to call store(). That runs the
// storing script (put.lua) and returns its reply. Before store() is called, after may set
// the variable shown to what live sockets get in place of a body that is a Reference.
// What Command is given beyond the notification stands at the end of KEYS and ARGV.
func WrapStore(before, after string) *WrappedStore {
	return &WrappedStore{script(before + "\nlocal function store()\n" + putSource + "\nend\n" + after)}
}

// Command returns the command that runs the script for a notification of s. The keys
// must lie in the receiver's partition. The reply is that of the wrapping script.
func (w *WrappedStore) Command(ctx context.Context, s *Store, p *Put, keys []string, args ...any) *rdb.Command {
	p.suffix = model.NewIDSuffix()
	storeKeys, storeArgs := s.putArgs(p)
	return w.script.Command(ctx, append(storeKeys, keys...), append(storeArgs, args...)...)
}
