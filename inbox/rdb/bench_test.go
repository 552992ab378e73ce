package rdb

import (
	"strconv"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// BenchmarkBatcher runs scripts of one SET, from one caller and from many concurrent
// callers.
func BenchmarkBatcher(b *testing.B) {
	server, err := localredis.Shared()
	if err != nil {
		b.Fatal(err)
	}
	script := NewScript("-- bench\nreturn redis.call('SET', KEYS[1], ARGV[1])")
	for _, callers := range []int{1, 64, 1024} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			batcher := NewBatcher(localredistest.Client(b, server.Addr()), 0)
			defer batcher.Close()
			b.SetParallelism(callers)
			b.ReportAllocs()
			run := func(pb *testing.PB) {
				for pb.Next() {
					if _, err := batcher.Run(b.Context(), script, []string{b.Name()}, "v"); err != nil {
						b.Error(err)
					}
				}
			}
			if callers > 1 {
				b.RunParallel(run)
				return
			}
			for b.Loop() {
				if _, err := batcher.Run(b.Context(), script, []string{b.Name()}, "v"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
