package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedisAddress(t *testing.T) {
	for _, test := range []struct {
		url  URL
		want RedisAddress
	}{
		{"redis://127.0.0.1:6379/0", RedisAddress{Hosts: []string{"127.0.0.1:6379"}}},
		{"redis://localhost", RedisAddress{Hosts: []string{"localhost:6379"}}},
		{"redis://localhost/", RedisAddress{Hosts: []string{"localhost:6379"}}},
		{"redis://[::1]:6380/12", RedisAddress{Hosts: []string{"[::1]:6380"}, DB: 12}},
		{"redis://[::1]", RedisAddress{Hosts: []string{"[::1]:6379"}}},
		{"rediss://kabar:p%40ss%2F@redis.example", RedisAddress{
			Hosts: []string{"redis.example:6379"}, TLS: true, Username: "kabar", Password: "p@ss/",
		}},
		{"redis://:p@ss@localhost", RedisAddress{Hosts: []string{"localhost:6379"}, Password: "p@ss"}},
		{"redis-sentinel://one:26380,two,[::1]/mymaster", RedisAddress{
			Kind: RedisSentinel, Hosts: []string{"one:26380", "two:26379", "[::1]:26379"}, Master: "mymaster",
		}},
		{"redis-sentinel://a:b@one/m?tls=true&sentinel_username=c&sentinel_password=d%26", RedisAddress{
			Kind: RedisSentinel, Hosts: []string{"one:26379"}, Master: "m", TLS: true,
			Username: "a", Password: "b", SentinelUsername: "c", SentinelPassword: "d&",
		}},
		{"redis-cluster://one,two:7001/", RedisAddress{Kind: RedisCluster, Hosts: []string{"one:6379", "two:7001"}}},
		{"redis-cluster://one/0?tls=false", RedisAddress{Kind: RedisCluster, Hosts: []string{"one:6379"}}},
	} {
		got, err := Redis{URL: test.url}.Address()
		if err != nil {
			t.Errorf("%s: %v", test.url.Reveal(), err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.url.Reveal(), diff)
		}
	}
}

func TestRedisAddressRefused(t *testing.T) {
	for _, test := range []struct {
		url  URL
		want string // part of the error
	}{
		{"", "must begin with redis://"},
		{"127.0.0.1:6379", "must begin with redis://"},
		{"REDIS://127.0.0.1", "must begin with redis://"},
		{"redis://", "host:port"},
		{"redis://:6379", "host:port"},
		{"redis://one:port", "host:port"},
		{"redis://one:0", "host:port"},
		{"redis://one:65536", "host:port"},
		{"redis://::1:6379", "host:port"},
		{"redis://hun:ter2/x", "host:port"},
		{"redis://:hunter2#one:6379", "host:port"},
		{"redis://one,two", "must name one host"},
		{"redis://one/db", "number of a database"},
		{"redis://one/-1", "number of a database"},
		{"redis://one/0/1", "number of a database"},
		{"redis://one?db=1", "no parameters"},
		{"redis://one?a=%zz", "parameters percent-encoded"},
		{"redis://%zz@one", "user name percent-encoded"},
		{"redis://:%zz@one", "password percent-encoded"},
		{"redis-sentinel://one", "master's name"},
		{"redis-sentinel://one/", "master's name"},
		{"redis-sentinel://one/m/0", "master's name"},
		{"redis-sentinel://one,/m", "host:port"},
		{"redis-sentinel://one/m?db=1", "no parameters but tls, sentinel_username"},
		{"redis-cluster://one/1", "no path"},
		{"redis-cluster://one?tls=perhaps", "tls=true or tls=false"},
	} {
		_, err := Redis{URL: test.url}.Address()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.url.Reveal(), err, test.want)
		}
	}
}
