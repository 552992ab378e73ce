package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// FaultOptions limit a [Fault]. With the zero value it is for every device, and lasts until it
// is removed.
type FaultOptions struct {
	// Service is PlatformFCM or PlatformAPNs if only one of them has the fault; empty for
	// each one that knows it.
	Service string
	// Tokens, unless nil, chooses devices by their tokens. It must be fast and must not call
	// the sandbox.
	Tokens func(token string) bool
	// Share, unless zero, is the share of the devices that have the fault, up to 1. Which
	// ones depends on their tokens and the fault's name alone; see [FaultOptions.Chosen].
	Share float64
	// Times, unless zero, is how many pushes, connections or disturbances the fault is for,
	// in each service.
	Times int
}

// Chosen reports whether the fault of that name is for a device.
func (o FaultOptions) Chosen(name, token string) bool {
	if o.Tokens != nil && !o.Tokens(token) {
		return false
	}
	if o.Share == 0 {
		return true
	}
	sum := sha256.Sum256([]byte(name + " " + token))
	return float64(binary.BigEndian.Uint64(sum[:8])) < o.Share*math.MaxUint64
}

// ErrUnknownFault reports a name that is not in [Faults].
var ErrUnknownFault = errors.New("unknown fault")

// FindFault returns the fault of that name.
func FindFault(name string) (Fault, error) {
	for _, f := range faults {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("%w %q", ErrUnknownFault, name)
}

// Check returns an error if the fault cannot be limited like that.
func (f Fault) Check(o FaultOptions) error {
	switch {
	case o.Service != "" && !slices.Contains(f.Services(), o.Service):
		return fmt.Errorf("fault %s: %q does not have it", f.Name, o.Service)
	case !(0 <= o.Share && o.Share <= 1):
		return fmt.Errorf("fault %s: the share is not between 0 and 1", f.Name)
	case !f.Devices && (o.Tokens != nil || o.Share != 0):
		return fmt.Errorf("fault %s is not about devices", f.Name)
	case o.Times < 0, !f.Counted && o.Times != 0:
		return fmt.Errorf("fault %s cannot be limited to a number of times", f.Name)
	}
	return nil
}

// Inject starts a fault of [Faults] by its name, and returns a function that ends it, which
// may be called twice. Several faults may be active; the first one that chooses a push
// answers it. [Provider.Answer] and [Provider.Fail] come before them. It fails if the name is
// unknown (the error wraps [ErrUnknownFault]), if [Fault.Check] does, or if the service cannot
// have the fault: a fault of access tokens needs [FCM.WriteCredentials].
func (s *Sandbox) Inject(name string, o FaultOptions) (remove func(), err error) {
	f, err := FindFault(name)
	if err != nil {
		return nil, err
	}
	if err := f.Check(o); err != nil {
		return nil, err
	}
	var ends []func()
	remove = sync.OnceFunc(func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	})
	for _, p := range []*Provider{s.FCM.Provider, s.APNs.Provider} {
		if !slices.Contains(f.Services(), p.platform) || o.Service != "" && o.Service != p.platform {
			continue
		}
		end, err := f.start(p, o)
		if err != nil {
			remove()
			return nil, fmt.Errorf("fault %s: %w", name, err)
		}
		ends = append(ends, end)
	}
	return remove, nil
}

// start starts the fault at one service.
func (f *Fault) start(p *Provider, o FaultOptions) (end func(), err error) {
	times := o.Times
	if times == 0 {
		times = -1
	}
	if f.begin != nil {
		return f.begin(p, times)
	}
	response := f.fcm
	if p.platform == PlatformAPNs {
		response = f.apns
	}
	r := *response
	var release chan struct{}
	if f.hangs {
		release = make(chan struct{})
		r.release = release
	}
	everyone := f.probes && o.Tokens == nil && o.Share == 0
	remove := p.inject(func(push *Push) bool {
		if push.dryRun {
			return everyone
		}
		return o.Chosen(f.Name, push.Token)
	}, times, r)
	return func() {
		remove()
		if release != nil {
			close(release)
		}
	}, nil
}

// hangConnections leaves all requests without an answer on the next connections that get one,
// so many of them, or on one if times is negative.
func hangConnections(p *Provider, times int) (end func(), err error) {
	release := make(chan struct{})
	chosen := make(map[*connection]bool)
	remove := p.inject(func(push *Push) bool {
		if len(chosen) < max(times, 1) {
			chosen[push.conn] = true
		}
		return chosen[push.conn]
	}, -1, Response{release: release})
	return func() { remove(); close(release) }, nil
}

// refuseConnections resets all connections and refuses new ones.
func refuseConnections(p *Provider, _ int) (end func(), err error) {
	if err := p.Refuse(true); err != nil {
		return nil, err
	}
	p.DropConnections()
	return func() { p.Refuse(false) }, nil // fails if another process has taken the port
}

// expireAccessTokens expires FCM's access tokens at once, and again and again.
func expireAccessTokens(p *Provider, times int) (end func(), err error) {
	tokens := p.api.(*fcmAPI).tokens
	if !tokens.required.Load() {
		return nil, errNoCredentials
	}
	return p.repeat(times, tokens.expireAll), nil
}

// refuseGrants expires FCM's access tokens, and gives out no new ones.
func refuseGrants(p *Provider, _ int) (end func(), err error) {
	if _, err := expireAccessTokens(p, 1); err != nil {
		return nil, err
	}
	tokens := p.api.(*fcmAPI).tokens
	tokens.refusing.Add(1)
	return func() { tokens.refusing.Add(-1) }, nil
}

var errNoCredentials = errors.New("FCM requires no access token")
