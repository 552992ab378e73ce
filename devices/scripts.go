package devices

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// releasedTTL is how long a released owner record remembers its generation, so
// that a token which is registered again gets a higher one even when the clock
// has been set back meanwhile.
const releasedTTL = 24 * time.Hour

var (
	//go:embed claim.lua
	claimLua string
	//go:embed enlist.lua
	enlistLua string
	//go:embed release.lua
	releaseLua string
	//go:embed unlist.lua
	unlistLua string
	//go:embed disown.lua
	disownLua string
	//go:embed admit.lua
	admitLua string

	claimScript   = rdb.NewScript(claimLua)
	enlistScript  = rdb.NewScript(enlistLua, stemLua)
	releaseScript = rdb.NewScript(releaseLua)
	unlistScript  = rdb.NewScript(unlistLua, stemLua)
	amendScript   = rdb.NewScript("local keys, args = KEYS, ARGV\n" + AmendSource)
	disownScript  = rdb.NewScript(disownLua)
	admitScript   = rdb.NewScript(admitLua)
)

// runBool runs a script that replies 1 or 0. It returns the reply also with
// rdb.ErrReplicas.
func (r *Registry) runBool(ctx context.Context, s *rdb.Script, keys []string, args ...any) (bool, error) {
	cmd, err := r.batcher.Run(ctx, s, keys, args...)
	if err != nil && !errors.Is(err, rdb.ErrReplicas) {
		return false, err
	}
	reply, replyErr := cmd.Bool()
	return reply, errors.Join(err, replyErr)
}
