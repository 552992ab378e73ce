package live

import (
	"sync"
	"sync/atomic"
	"testing"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestGate(t *testing.T) {
	var g gate
	for range 2 {
		if !g.enter() {
			t.Fatal("an open gate lets nobody in")
		}
	}
	g.leave()
	empty := g.close()
	if g.enter() {
		t.Error("a closed gate lets somebody in")
	}
	if !g.closed() || isClosed(empty) || g.close() != empty {
		t.Error("the gate is empty although somebody is inside")
	}
	g.leave()
	if !isClosed(empty) {
		t.Error("the gate is not empty although nobody is inside")
	}
	var unused gate
	if !isClosed(unused.close()) {
		t.Error("an unused gate is not empty")
	}
}

// When a closed gate is empty, everybody who had entered has left.
func TestGateClosesWhileOthersEnter(t *testing.T) {
	for range 20 {
		var g gate
		var inside atomic.Int64
		var visitors sync.WaitGroup
		entered := make(chan struct{}, 4)
		for range cap(entered) {
			visitors.Go(func() {
				for n := 0; g.enter(); n++ {
					inside.Add(1)
					if n == 0 {
						entered <- struct{}{}
					}
					inside.Add(-1)
					g.leave()
				}
			})
		}
		<-entered
		<-g.close()
		if n := inside.Load(); n != 0 {
			t.Fatalf("%d are inside", n)
		}
		visitors.Wait()
	}
}
