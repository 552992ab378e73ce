package main

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

func TestMatch(t *testing.T) {
	sent := []time.Time{begin.Add(2 * time.Millisecond), begin, begin.Add(time.Millisecond)}
	receipt := func(number, user int64, after time.Duration) Receipt {
		r := Receipt{Token: apns.token(user), Status: 200, At: begin.Add(after).UnixNano()}
		r.Tag = map[int64]string{10: "transaction:10", 11: "transaction:11", 12: "transaction:12", 13: "transaction:13"}[number]
		return r
	}
	good := []Receipt{
		receipt(11, 2, 30*time.Millisecond),
		receipt(10, 1, 25*time.Millisecond),
		receipt(12, 3, 50*time.Millisecond),
	}
	latencies, took, err := match(apns, 10, everyone(3), sent, good)
	if err != nil || took != 50*time.Millisecond || !slices.Equal(latencies, []float64{23, 30, 49}) {
		t.Errorf("latencies %v, took %v, %v", latencies, took, err)
	}

	refused := receipt(11, 2, 30*time.Millisecond)
	refused.Status = 503
	for _, c := range []struct {
		name     string
		receipts []Receipt
		want     string
	}{
		{"missing", good[:2], "of 3, 1 are missing and 0 came again; 0 were refused, 0 went elsewhere"},
		{"none", nil, "of 3, 3 are missing and 0 came again; 0 were refused, 0 went elsewhere"},
		{"repeated", append(slices.Clone(good), good[0], good[0]), "of 3, 0 are missing and 2 came again; 0 were refused, 0 went elsewhere"},
		{"one for another", append(slices.Clone(good[:2]), good[0]), "of 3, 1 are missing and 1 came again; 0 were refused, 0 went elsewhere"},
		{"refused and repeated", append(slices.Clone(good), refused), "of 3, 0 are missing and 0 came again; 1 were refused, 0 went elsewhere"},
		{"another phone", append(slices.Clone(good[:2]), receipt(12, 1, 0)), "of 3, 1 are missing and 0 came again; 0 were refused, 1 went elsewhere"},
		{"an event of another round", append(slices.Clone(good), receipt(13, 4, 0)), "of 3, 0 are missing and 0 came again; 0 were refused, 1 went elsewhere"},
		{"something else", append(slices.Clone(good), Receipt{Tag: "reminder", Token: apns.token(1), Status: 200}), "of 3, 0 are missing and 0 came again; 0 were refused, 1 went elsewhere"},
	} {
		_, _, err := match(apns, 10, everyone(3), sent, c.receipts)
		if want := errWrongPushes.Error() + ": " + c.want; !errors.Is(err, errWrongPushes) || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", c.name, err, want)
		}
	}
}

// The bare script stores something new in each round.
func TestBareScriptStores(t *testing.T) {
	server, err := localredis.Start(t.Context(), localredis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{redis: newStore(false, server)}
	defer w.redis.close()
	for _, first := range []int64{1, 2} {
		if err := w.runBareScript(t.Context(), first, requests(first, everyone(1), 1, false)); err != nil {
			t.Fatal(err)
		}
	}
	texts, err := w.redis.clients[0].HLen(t.Context(), "bare:{1}:texts").Result()
	if err != nil || texts != 2 {
		t.Errorf("%d texts, %v", texts, err)
	}
	if size, err := w.redis.logged(t.Context()); err != nil || size <= 0 {
		t.Errorf("the append-only file has %v bytes, %v", size, err)
	}
}
