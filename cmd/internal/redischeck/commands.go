package redischeck

import (
	"fmt"
	"slices"
	"strings"
)

// The commands that Kabar executes, directly or in scripts. Each has arguments that show
// the positions of its keys (KEY) and channels (CHANNEL). Tests compare these lists with
// the scripts and the Go code.
var (
	commands = []string{
		"append KEY v", "del KEY", "eval s 1 KEY", "evalsha s 1 KEY", "exec", "exists KEY",
		"get KEY", "getdel KEY", "getrange KEY 0 0",
		"hdel KEY f", "hexists KEY f", "hget KEY f", "hgetall KEY", "hincrby KEY f 1", "hkeys KEY", "hlen KEY", "hmget KEY f", "hscan KEY 0", "hset KEY f v", "hsetnx KEY f v", "hvals KEY",
		"incr KEY", "info", "mget KEY", "multi", "pexpire KEY 1", "pexpireat KEY 1", "pfadd KEY e", "pfcount KEY", "ping", "pttl KEY", "rename KEY KEY",
		"sadd KEY m", "scard KEY", "set KEY v", "setnx KEY v", "smembers KEY", "srem KEY m", "time", "type KEY", "unlink KEY",
		"xack KEY g 0-1", "xadd KEY * f v", "xclaim KEY g c 0 0-1", "xdel KEY 0-1",
		"xgroup|create KEY g 0", "xgroup|delconsumer KEY g c", "xinfo|consumers KEY g", "xlen KEY", "xpending KEY g",
		"xrange KEY - +", "xreadgroup GROUP g c STREAMS KEY >", "xrevrange KEY + -", "xtrim KEY MAXLEN 1",
		"zadd KEY 0 m", "zcard KEY", "zcount KEY 0 0", "zlexcount KEY - +", "zmscore KEY m", "zpopmin KEY", "zrange KEY 0 0",
		"zrangebylex KEY - +", "zrangebyscore KEY 0 0", "zrem KEY m",
		"zremrangebyrank KEY 0 0", "zremrangebyscore KEY 0 0", "zrevrange KEY 0 0", "zrevrangebylex KEY + -", "zscan KEY 0", "zscore KEY m",
		"client|setname kabar",
	}
	singleCommands  = []string{"publish CHANNEL m", "pubsub|numsub CHANNEL", "subscribe CHANNEL", "unsubscribe CHANNEL"}
	clusterCommands = []string{"spublish CHANNEL m", "pubsub|shardnumsub CHANNEL", "ssubscribe CHANNEL", "sunsubscribe CHANNEL", "asking", "cluster|slots"}
	selectCommand   = "select 1" // when the URL names a database
	waitCommand     = "wait 0 0" // with redis.wait_replicas
)

// newCommands maps commands that Redis 6.0 lacks to the version that added them.
var newCommands = map[string]string{
	"getdel": "6.2", "zmscore": "6.2",
	"pubsub|shardnumsub": "7.0", "spublish": "7.0", "ssubscribe": "7.0", "sunsubscribe": "7.0",
}

// A command is a command that Kabar executes.
type command struct {
	name  string   // as in an ACL rule, such as "xgroup|create"
	words []string // with placeholders for keys and channels
}

func parseCommand(text string) command {
	name, args, _ := strings.Cut(text, " ")
	return command{name, append(strings.Split(name, "|"), strings.Fields(args)...)}
}

// with returns the words of the command, with a key and a channel in place of the
// placeholders.
func (c command) with(key, channel string) []string {
	words := slices.Clone(c.words)
	for i, w := range words {
		switch w {
		case "KEY":
			words[i] = key
		case "CHANNEL":
			words[i] = channel
		}
	}
	return words
}

// commands returns the commands that Kabar executes on the configured kind of Redis.
func (c *Checker) commands() []command {
	texts := slices.Clone(commands)
	if c.cluster() {
		texts = append(texts, clusterCommands...)
	} else {
		texts = append(texts, singleCommands...)
	}
	if c.address.DB > 0 {
		texts = append(texts, selectCommand)
	}
	if c.Config.WaitReplicas > 0 {
		texts = append(texts, waitCommand)
	}
	all := make([]command, len(texts))
	for i, text := range texts {
		all[i] = parseCommand(text)
	}
	return all
}

// ACLRules returns the rules of a Redis user with exactly the rights that Kabar needs on
// every kind of Redis.
func ACLRules(prefix string) string {
	rules := []string{fmt.Sprintf("~%s:*", prefix), fmt.Sprintf("&%s:*", prefix)}
	for _, text := range slices.Concat(commands, singleCommands, clusterCommands, []string{selectCommand, waitCommand}) {
		rules = append(rules, "+"+parseCommand(text).name)
	}
	return strings.Join(rules, " ")
}
