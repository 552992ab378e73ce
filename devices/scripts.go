package devices

import (
	_ "embed" // the scripts
	"time"

	"github.com/redis/go-redis/v9"
)

// releasedFor is how long a released owner record remembers its generation, so
// that a token which is registered again gets a higher one even when the clock
// has been set back meanwhile.
const releasedFor = 24 * time.Hour

var (
	//go:embed claim.lua
	claimLua string
	//go:embed enlist.lua
	enlistLua string
	//go:embed release.lua
	releaseLua string
	//go:embed unlist.lua
	unlistLua string
	//go:embed suspend.lua
	suspendLua string
	//go:embed amend.lua
	amendLua string
	//go:embed sign_in.lua
	signInLua string
	//go:embed count_failure.lua
	countFailureLua string
	//go:embed forgive.lua
	forgiveLua string
	//go:embed set_token.lua
	setTokenLua string
	//go:embed disown.lua
	disownLua string

	claimScript        = redis.NewScript(claimLua)
	enlistScript       = redis.NewScript(enlistLua)
	releaseScript      = redis.NewScript(releaseLua)
	unlistScript       = redis.NewScript(unlistLua)
	suspendScript      = redis.NewScript(suspendLua)
	amendScript        = redis.NewScript(amendLua)
	signInScript       = redis.NewScript(signInLua)
	countFailureScript = redis.NewScript(countFailureLua)
	forgiveScript      = redis.NewScript(forgiveLua)
	setTokenScript     = redis.NewScript(setTokenLua)
	disownScript       = redis.NewScript(disownLua)
)
