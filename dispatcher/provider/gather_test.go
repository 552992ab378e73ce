package provider

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gathered runs f with a gathering connection and its peer, in a bubble whose time stands
// still while anybody can go on. A read of the peer returns what one write brought.
func gathered(t *testing.T, f func(t *testing.T, c *gatheringConn, peer net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, peer := net.Pipe()
		c := gather(ours)
		defer func() { peer.Close(); c.Close() }()
		f(t, c, peer)
	})
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(s), err)
	}
}

func read(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 4*maxGathered)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// What is written while a write is under way leaves with the next one, in order. The first
// write waits for nothing.
func TestWritesAreGathered(t *testing.T) {
	gathered(t, func(t *testing.T, c *gatheringConn, peer net.Conn) {
		start := time.Now()
		write(t, c, "a")
		synctest.Wait() // the write of "a" is under way
		write(t, c, "b")
		write(t, c, "c")
		if got := read(t, peer); got != "a" {
			t.Errorf("got %q", got)
		}
		if got := read(t, peer); got != "bc" {
			t.Errorf("got %q", got)
		}
		write(t, c, "d")
		if got := read(t, peer); got != "d" || time.Now() != start {
			t.Errorf("got %q after %v", got, time.Since(start))
		}
	})
}

func TestWriteWaitsForRoom(t *testing.T) {
	gathered(t, func(t *testing.T, c *gatheringConn, peer net.Conn) {
		full := strings.Repeat("x", maxGathered)
		write(t, c, full)
		synctest.Wait() // its write is under way
		write(t, c, full)
		done := make(chan error, 1)
		go func() { _, err := c.Write([]byte("y")); done <- err }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("more than %d bytes were taken: %v", 2*maxGathered, err)
		default:
		}
		got, err := io.ReadAll(io.LimitReader(peer, 2*maxGathered+1))
		if err != nil || !bytes.Equal(got, []byte(full+full+"y")) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A peer that takes nothing ends the connection, after what it has sent was read.
func TestPeerThatTakesNothing(t *testing.T) {
	gathered(t, func(t *testing.T, c *gatheringConn, peer net.Conn) {
		write(t, c, "a")
		time.Sleep(writeTimeout)
		synctest.Wait()
		if _, err := c.Write([]byte("b")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write returned %v", err)
		}
		go io.WriteString(peer, "a late answer")
		if got := read(t, c); got != "a late answer" {
			t.Errorf("got %q", got)
		}
		_, err := c.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || err != c.err {
			t.Errorf("Read returned %v, want the write's error", err)
		}
	})
}

// A peer that takes a little within each writeTimeout is waited for.
func TestSlowPeerIsWaitedFor(t *testing.T) {
	gathered(t, func(t *testing.T, c *gatheringConn, peer net.Conn) {
		const all = "abcdef"
		write(t, c, all)
		for i := range all {
			time.Sleep(writeTimeout * 3 / 4)
			var b [1]byte
			if _, err := peer.Read(b[:]); err != nil || b[0] != all[i] {
				t.Fatalf("got %q, %v", b, err)
			}
		}
		write(t, c, "g")
		if got := read(t, peer); got != "g" {
			t.Errorf("got %q", got)
		}
	})
}

// The reader hears of a failed write, too: net/http waits for answers there.
func TestFailedWriteEndsReading(t *testing.T) {
	gathered(t, func(t *testing.T, c *gatheringConn, peer net.Conn) {
		ended := make(chan error, 1)
		go func() { _, err := c.Read(make([]byte, 1)); ended <- err }()
		write(t, c, "a")
		synctest.Wait()
		start := time.Now()
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > writeTimeout+drainFor {
			t.Errorf("Read returned %v after %v", err, time.Since(start))
		}
	})
}

func TestCloseWaitsForWhatWasWritten(t *testing.T) {
	gathered(t, func(t *testing.T, c *gatheringConn, peer net.Conn) {
		write(t, c, "a")
		synctest.Wait()
		write(t, c, "b")
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		synctest.Wait()
		if _, err := c.Write([]byte("c")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write returned %v", err)
		}
		if got, err := io.ReadAll(peer); string(got) != "ab" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A peer that takes nothing holds Close up for lingerFor at most, and not after a second
// call.
func TestCloseIsBounded(t *testing.T) {
	gathered(t, func(t *testing.T, c *gatheringConn, peer net.Conn) {
		write(t, c, "a")
		synctest.Wait()
		start := time.Now()
		c.Close()
		if took := time.Since(start); took != lingerFor {
			t.Errorf("Close took %v", took)
		}
	})
	gathered(t, func(t *testing.T, c *gatheringConn, peer net.Conn) {
		write(t, c, "a")
		synctest.Wait()
		start := time.Now()
		first := make(chan error, 1)
		go func() { first <- c.Close() }()
		synctest.Wait()
		c.Close()
		<-first
		if took := time.Since(start); took != 0 {
			t.Errorf("the second Close took %v", took)
		}
	})
}
