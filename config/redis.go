package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Redis configures the Redis that holds Kabar's state.
type Redis struct {
	URL           URL    `yaml:"url" doc:"redis://, rediss://, redis-sentinel://host:port,…/master or redis-cluster://host:port,…, each with user:password@ before the first host; Sentinel and cluster take ?tls=true, Sentinel also sentinel_username and sentinel_password"`
	URLFile       string `yaml:"url_file" doc:"file with url"`
	Partitions    int    `yaml:"partitions" doc:"number of partitions, 1 to 1024; fixed by the first start"`
	Prefix        string `yaml:"prefix" doc:"what every key begins with, 1 to 64 of A-Z a-z 0-9 _ . : -"`
	WaitReplicas  int    `yaml:"wait_replicas" doc:"replicas that must have a write before it is answered, 0 to 10"`
	AllowVolatile bool   `yaml:"allow_volatile" doc:"start on a Redis that may lose what it was given (no AOF, or evicting)"`
}

// No braces: the first pair in a key is its hash tag, which must be the partition's.
var redisPrefix = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

func (c Redis) validate(p *problems) {
	if _, err := c.Address(); err != nil {
		p.add("redis.url", "%w", err)
	}
	p.between("redis.partitions", c.Partitions, 1, 1024)
	p.matches("redis.prefix", c.Prefix, redisPrefix, "1 to 64 of A-Z a-z 0-9 _ . : -")
	p.between("redis.wait_replicas", c.WaitReplicas, 0, 10)
}

// RedisKind is a kind of Redis deployment.
type RedisKind int

// The kinds of Redis that a URL can name.
const (
	RedisSingle   RedisKind = iota // redis://, rediss://
	RedisSentinel                  // redis-sentinel://
	RedisCluster                   // redis-cluster://
)

// RedisAddress is the parsed redis.url.
//
// Ports may be left out (6379, with Sentinel 26379). User and password stand before the
// first host, percent-encoded. TLS is switched on by rediss, and with Sentinel or a cluster
// by the parameter tls=true; sentinel_username and sentinel_password are the credentials
// for the Sentinels themselves.
type RedisAddress struct {
	Kind             RedisKind
	Hosts            []string // host:port, at least one; exactly one for RedisSingle
	Master           string   // the name that Sentinel knows the master by
	DB               int      // always 0 unless RedisSingle
	TLS              bool
	Username         string
	Password         Secret
	SentinelUsername string
	SentinelPassword Secret
}

// redisSchemes has the kind of Redis and the allowed parameters of each scheme.
var redisSchemes = map[string]struct {
	kind   RedisKind
	tls    bool
	port   string
	params []string
}{
	"redis":          {RedisSingle, false, "6379", nil},
	"rediss":         {RedisSingle, true, "6379", nil},
	"redis-sentinel": {RedisSentinel, false, "26379", []string{"tls", "sentinel_username", "sentinel_password"}},
	"redis-cluster":  {RedisCluster, false, "6379", []string{"tls"}},
}

// TLSConfig returns how to encrypt connections, or nil when they are not.
func (a RedisAddress) TLSConfig() *tls.Config {
	if !a.TLS {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

// Address parses URL. Its errors say what is allowed and never contain the URL. net/url
// cannot be used: it refuses several hosts with ports.
func (c Redis) Address() (RedisAddress, error) {
	name, rest, _ := strings.Cut(c.URL.Reveal(), "://")
	scheme, ok := redisSchemes[name]
	if !ok {
		return RedisAddress{}, errors.New("must begin with redis://, rediss://, redis-sentinel:// or redis-cluster://")
	}
	a := RedisAddress{Kind: scheme.kind, TLS: scheme.tls}

	rest, query, _ := strings.Cut(rest, "?")
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		if err := a.setUser(rest[:at]); err != nil {
			return RedisAddress{}, err
		}
		rest = rest[at+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if err := a.setHosts(hosts, scheme.port); err != nil {
		return RedisAddress{}, err
	}
	if err := a.setPath(path); err != nil {
		return RedisAddress{}, err
	}
	if err := a.setParams(query, scheme.params); err != nil {
		return RedisAddress{}, err
	}
	return a, nil
}

func (a *RedisAddress) setUser(text string) error {
	user, password, _ := strings.Cut(text, ":")
	user, err := url.PathUnescape(user)
	if err != nil {
		return errors.New("must have its user name percent-encoded")
	}
	password, err = url.PathUnescape(password)
	if err != nil {
		return errors.New("must have its password percent-encoded")
	}
	a.Username, a.Password = user, Secret(password)
	return nil
}

func (a *RedisAddress) setHosts(text, defaultPort string) error {
	for item := range strings.SplitSeq(text, ",") {
		address := item
		if !strings.Contains(item, ":") || strings.HasSuffix(item, "]") {
			address += ":" + defaultPort
		}
		host, port, err := net.SplitHostPort(address)
		if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || !hostName.MatchString(host) {
			return errors.New("must name hosts as host:port, and have its password percent-encoded")
		}
		a.Hosts = append(a.Hosts, net.JoinHostPort(host, port))
	}
	if a.Kind == RedisSingle && len(a.Hosts) > 1 {
		return errors.New("must name one host, or begin with redis-sentinel:// or redis-cluster://")
	}
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_.:%-]+$`)

func (a *RedisAddress) setPath(text string) error {
	switch a.Kind {
	case RedisSentinel:
		master, err := url.PathUnescape(text)
		if err != nil || master == "" || strings.Contains(master, "/") {
			return errors.New("must end in the master's name, like redis-sentinel://host:26379/mymaster")
		}
		a.Master = master
	case RedisCluster:
		if text != "" && text != "0" {
			return errors.New("must have no path: a cluster has no database but 0")
		}
	default:
		if text == "" {
			return nil
		}
		db, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return errors.New("must end in the number of a database, like redis://127.0.0.1:6379/0")
		}
		a.DB = int(db)
	}
	return nil
}

func (a *RedisAddress) setParams(text string, allowed []string) error {
	params, err := url.ParseQuery(text)
	if err != nil {
		return errors.New("must have its parameters percent-encoded")
	}
	for name := range params {
		if !slices.Contains(allowed, name) && len(allowed) == 0 {
			return errors.New("must have no parameters")
		}
		if !slices.Contains(allowed, name) {
			return fmt.Errorf("must have no parameters but %s", strings.Join(allowed, ", "))
		}
	}
	if params.Has("tls") {
		if a.TLS, err = strconv.ParseBool(params.Get("tls")); err != nil {
			return errors.New("must say tls=true or tls=false")
		}
	}
	a.SentinelUsername = params.Get("sentinel_username")
	a.SentinelPassword = Secret(params.Get("sentinel_password"))
	return nil
}
