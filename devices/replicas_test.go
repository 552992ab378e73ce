package devices

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A registration writes to two shards, that of the token and that of the user. While the
// replica of either shard lags, it returns an error and may be repeated as a whole.
func TestRegistrationsWaitForReplicas(t *testing.T) {
	t.Parallel()
	masters := localredistest.Cluster(t, 2, "--appendonly", "no", "--cluster-node-timeout", "600000")
	var replicas []*localredis.Server
	for _, m := range masters {
		replicas = append(replicas, localredistest.Replica(t, m, "--appendonly", "no"))
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{masters[0].Addr()}})
	t.Cleanup(func() { client.Close() })
	batcher := rdb.NewBatcher(client, 1)
	t.Cleanup(batcher.Close)
	parts := rdb.NewPartitions("replicas", 2) // one for each master
	r := New(Options{Redis: client, Batcher: batcher, Partitions: parts})

	const user = ani
	users := parts.OfUser(user)
	token := elsewhere(parts, users)
	for name, lagging := range map[string]*localredis.Server{"of the user": replicas[users], "of the token": replicas[1-users]} {
		ctx := t.Context()
		register := func(user int64, name string) (d Device) {
			confirmed(t, func() (err error) { d, err = r.Register(ctx, user, phone(token(name)), nil); return err })
			return d
		}
		old, gone, dead := register(user, "old"+name), register(user, "gone"+name), register(user, "dead"+name)
		other := register(budi, "other"+name)
		var registered Device
		writes := []struct {
			name string
			do   func() error
			both bool // the user's shard must confirm it, too
		}{
			{"register", func() (err error) { registered, err = r.Register(ctx, user, other, nil); return err }, true},
			{"refresh", func() error { _, err := r.Register(ctx, user, old, nil); return err }, true},
			{"replace", func() error {
				_, err := r.Replace(ctx, user, old.Token, Device{Platform: Android, Token: token("new" + name)})
				return err
			}, true},
			{"remove", func() error { return r.Remove(ctx, user, Android, gone.Token) }, false},
			{"suspend", func() error { return r.Suspend(ctx, user, dead, "MISMATCH") }, true},
			{"forget", func() error { _, err := r.Forget(ctx, user, dead); return err }, true},
		}
		resume := localredistest.Stop(t, lagging)
		for _, w := range writes {
			ofUser := lagging == replicas[users]
			if ofUser && !w.both || !ofUser && w.name == "suspend" {
				continue
			}
			if err := w.do(); !errors.Is(err, rdb.ErrReplicas) {
				t.Errorf("%s while the replica %s lags: %v", w.name, name, err)
			}
		}
		resume()
		for _, w := range writes {
			confirmed(t, w.do)
		}
		if !owner(t, r, other).Owns(user, registered) {
			t.Errorf("%s: the device is not the user's", name)
		}
		list, err := r.List(ctx, user)
		check(t, err)
		for _, d := range list {
			if d.Token == gone.Token || d.Token == dead.Token || !owner(t, r, d).Owns(user, d) {
				t.Errorf("%s: listed %+v", name, d)
			}
			confirmed(t, func() error { return r.Remove(ctx, user, Android, d.Token) })
		}
	}
}

// confirmed repeats a write until its replicas, which may lag, confirm it.
func confirmed(t *testing.T, write func() error) {
	t.Helper()
	err := write()
	for end := time.Now().Add(time.Minute); errors.Is(err, rdb.ErrReplicas) && time.Now().Before(end); {
		err = write()
	}
	check(t, err)
}

// elsewhere returns a function that makes a token from a name. The token lies in another
// partition than the given one.
func elsewhere(parts *rdb.Partitions, partition int) func(name string) string {
	return func(name string) string {
		for n := 0; ; n++ {
			token := strings.ReplaceAll(name, " ", "_") + strconv.Itoa(n)
			if parts.Of(token) != partition {
				return token
			}
		}
	}
}
