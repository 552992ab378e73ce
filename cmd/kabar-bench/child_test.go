package main

import (
	"context"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"sync"
	"testing"
)

// A LateService replies once the context is done.
type LateService struct {
	asked chan<- struct{}
	done  <-chan struct{}
}

// Bytes implements the sandbox's method.
func (s LateService) Bytes(_ None, n *int64) error {
	s.asked <- struct{}{}
	<-s.done
	*n = 7
	return nil
}

// A reply that comes while its caller gives up is dropped. The race detector reports it
// when both use the same memory.
func TestReplyThatComesTooLate(t *testing.T) {
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan struct{}, 2)
		server := rpc.NewServer()
		if err := server.RegisterName(service, LateService{asked, ctx.Done()}); err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		var running sync.WaitGroup
		running.Go(func() {
			codec := jsonrpc.NewServerCodec(theirs)
			for server.ServeRequest(codec) == nil { // which replies in order
			}
		})
		s := &sandboxProcess{child: &child{rpc: jsonrpc.NewClient(ours)}}
		running.Go(func() {
			if n, err := s.bytes(ctx); err == nil && n != 7 {
				t.Errorf("%v bytes without an error", n)
			}
		})
		<-asked
		cancel()
		if n, err := s.bytes(t.Context()); err != nil || n != 7 { // the reply to the first call came before
			t.Errorf("%v bytes, %v", n, err)
		}
		_ = s.rpc.Close()
		running.Wait()
	}
}
