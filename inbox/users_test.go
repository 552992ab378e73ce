package inbox

import (
	"context"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// Every user with stored data is listed, in the order of ids, page by page.
func TestUsers(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newStore(t, rdb)
		name := "Me Ow"
		if err := s.Profiles.Set(ctx, 9, Profile{Name: &name}); err != nil {
			t.Fatal(err)
		}
		for _, user := range []int64{1 << 62, 10, 100, 2} {
			if _, errs := s.Notifications.Store(ctx, []NewNotification{{Receiver: user, Event: "e", Content: "c", Type: "dompet", Body: []byte(`{}`)}}, nil); errs[0] != nil {
				t.Fatal(errs[0])
			}
		}
		carry(t, s, outbound(20, 21, "halo"))
		var all []int64
		for p := range s.parts.Len() {
			var after int64
			for {
				page, err := s.Users.After(ctx, p, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				if page[0] <= after || s.parts.OfUser(page[0]) != p {
					t.Errorf("partition %d: %d after %d", p, page[0], after)
				}
				after = page[0]
				all = append(all, page...)
			}
		}
		slices.Sort(all)
		if want := []int64{2, 9, 10, 20, 21, 100, 1 << 62}; !slices.Equal(all, want) {
			t.Errorf("users %v, want %v", all, want)
		}
		if n, err := s.Users.Count(ctx); err != nil || n != int64(len(all)) {
			t.Errorf("counted %d users, %v", n, err)
		}
	})
}
