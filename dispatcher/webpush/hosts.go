package webpush

import (
	"net/http"
	"sync"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// maxHosts is how many hosts of a service have connections, unless more are in use at the
// same time. Windows' push service has some dozens.
const maxHosts = 32

// hosts are the connections to the hosts of a push service. A host gets them when it is first
// used, and loses them when it is idle and others need the place.
type hosts struct {
	options  provider.Options
	inFlight map[push.Lane]int
	closing  sync.WaitGroup // connections of hosts that lost them

	mu     sync.Mutex
	all    map[string]*host
	uses   uint64
	newest string
	closed bool
}

// A host is one host of the service. The mutex of its hosts guards users and last.
type host struct {
	pools   provider.Pools
	clients [len(push.Lanes)]*http.Client
	users   int
	last    uint64 // use
}

func newHosts(o provider.Options, inFlight map[push.Lane]int) *hosts {
	return &hosts{options: o, inFlight: inFlight, all: make(map[string]*host)}
}

// use returns a host until done is called. It fails with [provider.ErrClosed] after close.
func (hs *hosts) use(name string) (*host, error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		return nil, provider.ErrClosed
	}
	h := hs.all[name]
	if h == nil {
		if len(hs.all) >= maxHosts {
			hs.dropOldest()
		}
		o := hs.options
		o.URL = "https://" + name
		h = &host{pools: provider.NewPools(o, hs.inFlight)}
		for l, pool := range h.pools {
			h.clients[l] = provider.Client(pool)
		}
		hs.all[name] = h
	}
	hs.uses++
	h.users, h.last, hs.newest = h.users+1, hs.uses, name
	return h, nil
}

func (hs *hosts) done(h *host) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.users--
}

// dropOldest closes the connections of the host that was idle for the longest time, if one
// is. The caller holds mu.
func (hs *hosts) dropOldest() {
	oldest := ""
	for name, h := range hs.all {
		if h.users == 0 && (oldest == "" || h.last < hs.all[oldest].last) {
			oldest = name
		}
	}
	if oldest == "" {
		return
	}
	h := hs.all[oldest]
	delete(hs.all, oldest)
	hs.closing.Go(h.pools.Close)
}

// latest returns the host that was used last, or "".
func (hs *hosts) latest() string {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.newest
}

// close closes all connections, and waits for the requests in flight.
func (hs *hosts) close() {
	hs.mu.Lock()
	hs.closed = true
	for name, h := range hs.all {
		delete(hs.all, name)
		hs.closing.Go(h.pools.Close)
	}
	hs.mu.Unlock()
	hs.closing.Wait()
}
