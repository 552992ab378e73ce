package rdb

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestPartitionsAreClaimed(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		for again := range 2 {
			p := NewPartitions(t.Name(), 16)
			if known, err := p.Claimed(t.Context(), rdb); known != (again > 0) || err != nil {
				t.Errorf("known %t, %v", known, err)
			}
			if err := p.Claim(t.Context(), rdb); err != nil {
				t.Fatal(err)
			}
		}
		err := NewPartitions(t.Name(), 8).Claim(t.Context(), rdb)
		if !errors.Is(err, ErrPartitions) || !strings.Contains(err.Error(), "it has 16, the configuration says 8") {
			t.Errorf("error %v, want ErrPartitions", err)
		}
	})
}

// Claim handles values of another build, and values that Kabar has not written.
func TestClaimReadsWhatIsThere(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, tc := range map[string]struct {
			key, value string
			want       error
			says       string
		}{
			"a build before the layout had a version": {":partitions", "16", ErrLayout, "Redis has layout 1"},
			"this build":                     {":layout", claim{Layout, 16}.String(), nil, ""},
			"this build, another number":     {":layout", claim{Layout, 8}.String(), ErrPartitions, "it has 8"},
			"garbage":                        {":partitions", "sixteen", ErrClaim, `:partitions holds "sixteen"; choose another redis.prefix`},
			"nothing":                        {":partitions", "", ErrClaim, `holds ""`},
			"a later layout":                 {":layout", "3 16", ErrLayout, "Redis has layout 3, this build uses layout 2; run a build that uses that one, or give this one an empty Redis"},
			"a later layout in another slot": {":{p3}:layout", "3 16", ErrLayout, "layout 3"},
			"half a layout":                  {":layout", "1", ErrClaim, `:layout holds "1"`},
			"more than a layout":             {":layout", "1 16 32", ErrClaim, `"1 16 32"`},
		} {
			prefix := t.Name() + "." + strings.ReplaceAll(name, " ", "-")
			if err := rdb.Set(t.Context(), prefix+tc.key, tc.value, 0).Err(); err != nil {
				t.Fatal(err)
			}
			p := NewPartitions(prefix, 16)
			known, err := p.Claimed(t.Context(), rdb)
			if !errors.Is(err, tc.want) || known != (tc.want == nil) || rdb.Exists(t.Context(), p.ClaimKeys()...).Val() != 1 {
				t.Errorf("%s, only compared: %t, %v; want %v", name, known, err, tc.want)
			}
			err = p.Claim(t.Context(), rdb)
			if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: %v, want %v saying %q", name, err, tc.want, tc.says)
			}
			if n, _ := rdb.Exists(t.Context(), p.ClaimKeys()...).Result(); tc.want != nil && n != 1 {
				t.Errorf("%s: %d keys after it was refused", name, n)
			} else if tc.want == nil && n != claimCopies+1 {
				t.Errorf("%s: %d keys after it was claimed", name, n)
			}
		}
		list := NewPartitions(t.Name()+".list", 16)
		if err := rdb.RPush(t.Context(), list.partitionsKey(), "x").Err(); err != nil {
			t.Fatal(err)
		}
		if err := list.Claim(t.Context(), rdb); !errors.Is(err, ErrClaim) {
			t.Errorf("a list: %v, want ErrClaim", err)
		}
	})
}

// Claim only reads a Redis at maxmemory that was used before, and fails on one that was
// not.
func TestClaimOnAFullRedis(t *testing.T) {
	t.Parallel()
	server, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	rdb := localredistest.Client(t, server.Addr())
	if err := errors.Join(
		rdb.Set(t.Context(), "former:layout", claim{Layout, 16}.String(), 0).Err(),
		rdb.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err(),
		rdb.ConfigSet(t.Context(), "maxmemory", "1").Err()); err != nil {
		t.Fatal(err)
	}
	if err := NewPartitions("former", 16).Claim(t.Context(), rdb); err != nil {
		t.Errorf("a Redis that was used before: %v", err)
	}
	if err := NewPartitions("former", 8).Claim(t.Context(), rdb); !errors.Is(err, ErrPartitions) {
		t.Errorf("with another number: %v, want ErrPartitions", err)
	}
	if err := NewPartitions("new", 16).Claim(t.Context(), rdb); !redis.HasErrorPrefix(err, "OOM") {
		t.Errorf("the first start: %v, want OOM", err)
	}
}

// Of two first starts at once with different numbers of partitions one wins, and the data
// stays usable with its number.
func TestFirstStartsAtOnce(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		for i := range 20 {
			prefix := fmt.Sprint(t.Name(), i)
			numbers := []int{16, 8}
			errs := make([]error, len(numbers))
			var starts sync.WaitGroup
			for n, partitions := range numbers {
				starts.Go(func() { errs[n] = NewPartitions(prefix, partitions).Claim(t.Context(), rdb) })
			}
			starts.Wait()
			won, lost := 0, 1
			if errs[0] != nil {
				won, lost = 1, 0
			}
			if errs[won] != nil || !errors.Is(errs[lost], ErrPartitions) {
				t.Fatalf("errors %v, want one ErrPartitions", errs)
			}
			if err := NewPartitions(prefix, numbers[won]).Claim(t.Context(), rdb); err != nil {
				t.Fatalf("a later start with the number that won: %v", err)
			}
		}
	})
}
