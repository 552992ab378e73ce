package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// startTestBareSockets starts a bare server in this process and returns its client.
func startTestBareSockets(t *testing.T, o BareSocketsOptions) (*BareSockets, *client) {
	t.Helper()
	b := &BareSockets{}
	t.Cleanup(b.close)
	var address string
	if err := b.Start(o, &address); err != nil {
		t.Fatal(err)
	}
	c := newClient(address, "", "")
	t.Cleanup(c.close)
	return b, c
}

const testFrame = `{"op":"event","seq":1,"prev":0,"event":{"type":"transaction","details":{"id":9,"x":true}}}`

func TestBareSockets(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		t.Run(fmt.Sprintf("fresh %t", fresh), func(t *testing.T) {
			b, c := startTestBareSockets(t, BareSocketsOptions{Fresh: fresh, Frame: []byte(testFrame)})
			s := &side{client: c, crowd: newCrowd(c, 5, false), cpu: []counter{cpuOf(os.Getpid())}}
			t.Cleanup(s.crowd.drop)
			if err := s.crowd.connect(t.Context(), afresh); err != nil {
				t.Fatal(err)
			}
			holds := func(want int) {
				err := until(t.Context(), "registered", func() (bool, error) {
					var n int
					err := b.Open(None{}, &n)
					return n == want, err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			holds(5)
			for i, batch := range []int{1, 2} {
				if _, err := s.deliver(t.Context(), int64(100*i+100), pace{publishers: 2}, batch); err != nil {
					t.Errorf("%d a request: %v", batch, err)
				}
			}
			if want := strings.Replace(testFrame, ":9,", ":200,", 1); string(s.crowd.sample) != want || !json.Valid(s.crowd.sample) {
				t.Errorf("the frame is %s, want %s", s.crowd.sample, want)
			}
			s.crowd.drop()
			holds(0)
			query := func(user int64) string { return fmt.Sprintf("missed=3&first=%d&step=5", 300+user-1) }
			if _, err := s.comeBack(t.Context(), 300, 3, query); err != nil {
				t.Errorf("storm: %v", err)
			}
			holds(5)
			if _, err := s.client.publish(t.Context(), requests(1, everyone(6), 1, false), pace{publishers: 1}); err == nil {
				t.Error("an event for a user without a socket was accepted")
			}
		})
	}
}

func TestBareSocketsWithoutNumber(t *testing.T) {
	var address string
	if err := (&BareSockets{}).Start(BareSocketsOptions{Frame: []byte(`{"op":"hello"}`)}, &address); err == nil {
		t.Error("a frame without a number was taken")
	}
}
