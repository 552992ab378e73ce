package inbox

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// BenchmarkStore stores events for many users in pipelines of 100, on a Redis with an
// append-only file. It reports the CPU time of Redis per event, and for comparison that of
// a bare script with one SET.
func BenchmarkStore(b *testing.B) {
	server, err := localredis.Start(b.Context(), localredis.Options{Args: []string{"--auto-aof-rewrite-percentage", "0"}})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	redisClient := localredistest.Client(b, server.Addr())
	s := newStore(b, redisClient)
	ctx := context.Background()
	for u := range int64(2_000) {
		redisClient.HSet(ctx, s.options.Devices(u+1), "d", "{}")
	}
	body := []byte(`{"type":"transaction","title":null,"message":"m","details":{"text":"` + strings.Repeat("x", 1000) + `","unread_items":null}}`)
	bare := rdb.NewScript("-- bare\nreturn redis.call('SET', KEYS[1], ARGV[1])")
	n := 0
	b.Run("store", func(b *testing.B) {
		measure(b, redisClient, func(count int) {
			events := make([]NewNotification, count)
			receivers := make(map[string][]int64, count)
			for i := range events {
				n++
				u := int64(n%2_000 + 1)
				receivers[fmt.Sprintf("%032x", n)] = []int64{u}
				events[i] = NewNotification{
					Receiver: u, Event: fmt.Sprintf("%032x", n), Content: strconv.Itoa(n), Type: "transaction", Listed: true, Body: body,
					Subject: "transaction:" + strconv.Itoa(n), State: model.State{Order: time.Now(), Rank: 5, Counter: model.SellerTransactions},
					Entry: &OutboxEntry{Stream: s.parts.Key(s.parts.OfUser(u), "out"), Header: `{"u":66,"e":"0123456789abcdef0123456789abcdef","n":"`},
				}
			}
			if _, errs := s.Notifications.Store(ctx, events, receivers); errs[0] != nil {
				b.Fatal(errs[0])
			}
		})
	})
	b.Run("bare", func(b *testing.B) {
		measure(b, redisClient, func(count int) {
			commands := make([]*rdb.Command, count)
			for i := range commands {
				n++
				commands[i] = bare.Command(ctx, []string{"bare" + strconv.Itoa(n%2_000)}, body)
			}
			if err := s.batcher.Do(ctx, commands...); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkSearch searches a mailbox of 50,000 messages. For comparison it reads all
// postings of one word, about as many as the search does, with a single ZRANGEBYLEX on the
// same Redis.
func BenchmarkSearch(b *testing.B) {
	server, err := localredis.Start(b.Context(), localredis.Options{Args: []string{"--auto-aof-rewrite-percentage", "0"}})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	redisClient := localredistest.Client(b, server.Addr())
	s := newStore(b, redisClient)
	fillMailbox(b, s)
	ctx := context.Background()
	for _, c := range []struct{ name, text, bare string }{
		{"rare", "langka", "langka"},
		{"common", "barang", "barang"},
		{"old", "sering", "sering"},
		{"prefix", "bar", "barang"},
		{"words", "langka barang nomor7", "langka"},
		{"common words", "barang sering", "sering"},
		{"common word and prefix", "barang ser", "sering"},
	} {
		b.Run(c.name, func(b *testing.B) {
			before := redisCPU(b, redisClient)
			for b.Loop() {
				if _, err := s.Conversations.Search(ctx, user, c.text, false, 0, 10); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((redisCPU(b, redisClient)-before)*1e6/float64(b.N), "redis-µs/op")
		})
		b.Run(c.name+"/bare", func(b *testing.B) {
			before := redisCPU(b, redisClient)
			for b.Loop() {
				bounds := redis.ZRangeBy{Min: "[" + c.bare + "\x00", Max: "(" + c.bare + "\x01"}
				if err := redisClient.ZRangeByLex(ctx, s.keys(user).words(), &bounds).Err(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((redisCPU(b, redisClient)-before)*1e6/float64(b.N), "redis-µs/op")
		})
	}
}

// measure runs b.N operations in pipelines of 100 and reports the CPU time of Redis per
// operation.
func measure(b *testing.B, redisClient redis.UniversalClient, do func(count int)) {
	before := redisCPU(b, redisClient)
	for left := b.N; left > 0; left -= 100 {
		do(min(left, 100))
	}
	if os.Getenv("STATS") != "" {
		fmt.Println(redisClient.Info(context.Background(), "commandstats").Val())
	}
	b.ReportMetric((redisCPU(b, redisClient)-before)*1e6/float64(b.N), "redis-µs/op")
}

// redisCPU returns the CPU time that the process of Redis has used, in seconds.
func redisCPU(b *testing.B, redisClient redis.UniversalClient) float64 {
	info, err := redisClient.Info(context.Background(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	total := 0.0
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			total += seconds
		}
	}
	return total
}
