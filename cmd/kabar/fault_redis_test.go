package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A fault is a failure that a trial injects. inject starts it and returns the function that
// ends it. The fault lasts one to four seconds longer than least. meanwhile, unless nil,
// checks what must hold during the fault.
type fault struct {
	name      string
	least     time.Duration
	inject    func(tr *trial) (heal func())
	meanwhile func(tr *trial)
}

// processFaults are the faults of gateways, with any kind of Redis.
var processFaults = []fault{
	{name: "gateway killed", inject: func(tr *trial) func() {
		i := tr.rand.IntN(tr.fleet.len())
		tr.fleet.at(i).kill()
		return func() { tr.fleet.replace(i, tr.serve()) }
	}},
	{name: "gateway stopped", inject: func(tr *trial) func() {
		p := tr.fleet.at(tr.rand.IntN(tr.fleet.len()))
		tr.signal(p.cmd.Process.Pid, syscall.SIGSTOP)
		return func() { tr.signal(p.cmd.Process.Pid, syscall.SIGCONT) }
	}},
	{name: "gateway terminated", inject: func(tr *trial) func() {
		i := tr.rand.IntN(tr.fleet.len())
		if err := tr.fleet.at(i).term(); err != nil {
			tr.t.Errorf("a gateway that was terminated: %v", err)
		}
		return func() { tr.fleet.replace(i, tr.serve()) }
	}},
	{name: "all gateways killed", inject: func(tr *trial) func() {
		for i := range tr.fleet.len() {
			tr.fleet.at(i).kill()
		}
		return func() {
			for i := range tr.fleet.len() {
				tr.fleet.replace(i, tr.serve())
			}
		}
	}},
}

// redisFaults are the faults of a single Redis behind a proxy.
var redisFaults = []fault{
	{name: "Redis killed", inject: func(tr *trial) func() {
		if err := tr.redis.Kill(); err != nil {
			tr.t.Fatal(err)
		}
		return func() { tr.restartRedis(tr.t) }
	}},
	{name: "Redis stopped", inject: func(tr *trial) func() {
		pid := tr.redis.PID()
		tr.signal(pid, syscall.SIGSTOP)
		return func() { tr.signal(pid, syscall.SIGCONT) }
	}},
	{name: "LOADING", inject: func(tr *trial) func() {
		// Loading takes a second or two: Redis sleeps for delay µs after each command
		// (about 50 bytes), or briefly after every -delay commands.
		commands := max(1, tr.redisInfo("aof_current_size")/50)
		delay := 1_000_000 / commands
		if delay < 100 {
			delay = -max(1, commands/10_000)
		}
		tr.restartRedis(tr.t, "--key-load-delay", strconv.Itoa(delay), "--loading-process-events-interval-bytes", "1024")
		return func() { tr.redisDo("config", "set", "key-load-delay", "0") }
	}},
	// Long enough to take an entry over five times.
	{name: "full", least: 12 * time.Second, inject: func(tr *trial) func() {
		room := tr.rand.IntN(64 << 10)
		tr.redisDo("config", "set", "maxmemory", strconv.Itoa(tr.redisInfo("used_memory")+room))
		return func() { tr.redisDo("config", "set", "maxmemory", "0") }
	}},
	{name: "full, gateway restarted", inject: func(tr *trial) func() {
		i := tr.rand.IntN(tr.fleet.len())
		tr.redisDo("config", "set", "maxmemory", strconv.Itoa(tr.redisInfo("used_memory")))
		tr.fleet.at(i).kill()
		tr.fleet.replace(i, tr.serve())
		return func() { tr.redisDo("config", "set", "maxmemory", "0") }
	}},
	{name: "READONLY", inject: func(tr *trial) func() {
		tr.redisDo("replicaof", "127.0.0.1", "1") // no server listens there
		return func() { tr.redisDo("replicaof", "no", "one") }
	}},
	{name: "NOREPLICAS", inject: func(tr *trial) func() {
		tr.redisDo("config", "set", "min-replicas-to-write", "1")
		return func() { tr.redisDo("config", "set", "min-replicas-to-write", "0") }
	}},
	{name: "MISCONF", inject: failSnapshots},
	{name: "no right to channels", inject: func(tr *trial) func() {
		tr.redisDo("acl", "setuser", "default", "resetchannels")
		return func() { tr.redisDo("acl", "setuser", "default", "allchannels") }
	}},
	{name: "scripts lost", inject: func(tr *trial) func() {
		tr.redisDo("script", "flush")
		return func() { tr.redisDo("script", "flush") }
	}},
	{name: "connections slow", inject: func(tr *trial) func() {
		tr.proxy.slow(30 * time.Millisecond)
		return func() { tr.proxy.slow(0) }
	}},
	{name: "connections silent", inject: func(tr *trial) func() {
		tr.proxy.silence(true)
		return func() { tr.proxy.silence(false) }
	}},
	{name: "connections cut", inject: func(tr *trial) func() {
		tr.proxy.cut()
		return tr.proxy.cut
	}},
	{name: "connections refused", inject: func(tr *trial) func() {
		tr.proxy.refuse(true)
		return func() { tr.proxy.refuse(false) }
	}},
	{name: "subscriptions cut", inject: func(tr *trial) func() {
		tr.redisDo("client", "kill", "type", "pubsub")
		return func() { tr.redisDo("client", "kill", "type", "pubsub") }
	}},
}

// failSnapshots makes snapshots fail by a folder in place of the file. Redis then refuses
// writes.
func failSnapshots(tr *trial) func() {
	file := filepath.Join(tr.redis.Dir(), "dump.rdb")
	if err := errors.Join(os.RemoveAll(file), os.MkdirAll(filepath.Join(file, "full"), 0o700)); err != nil {
		tr.t.Fatal(err)
	}
	tr.redisDo("config", "set", "save", "3600 1000000")
	tr.redisDo("bgsave")
	tr.arrive("a snapshot that fails", func() bool { return strings.Contains(tr.redisText("persistence"), "rdb_last_bgsave_status:err") })
	return func() {
		if err := os.RemoveAll(file); err != nil {
			tr.t.Fatal(err)
		}
		tr.redisDo("bgsave")
		tr.arrive("a snapshot", func() bool { return strings.Contains(tr.redisText("persistence"), "rdb_last_bgsave_status:ok") })
		tr.redisDo("config", "set", "save", "")
	}
}

// signal sends a signal to a process of the trial.
func (tr *trial) signal(pid int, s syscall.Signal) {
	tr.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		tr.t.Fatal(err)
	}
}

// redisDo runs a command on the single Redis, without the proxy.
func (tr *trial) redisDo(args ...any) {
	tr.t.Helper()
	if err := tr.rdb.Do(tr.t.Context(), args...).Err(); err != nil {
		tr.t.Fatalf("%v: %v", args, err)
	}
}

func (tr *trial) redisText(section string) string {
	tr.t.Helper()
	text, err := tr.rdb.Info(tr.t.Context(), section).Result()
	if err != nil {
		tr.t.Fatal(err)
	}
	return text
}

// redisInfo returns a number from INFO.
func (tr *trial) redisInfo(name string) (n int) {
	tr.t.Helper()
	for line := range strings.Lines(tr.redisText("everything")) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			fmt.Sscan(value, &n)
		}
	}
	return n
}
