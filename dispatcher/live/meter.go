package live

import (
	"errors"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
)

// errFlood means that a client sends more control frames than it may.
var errFlood = errors.New("too many control frames")

// A meter limits the control frames that a client sends: pings, pongs and continuations of
// fragmented messages. coder/websocket answers or swallows them without telling anybody, so
// the meter finds them in the bytes of the connection. It skips payloads and validates
// nothing. A conn calls it from one goroutine at a time.
type meter struct {
	interval, burst time.Duration // one more frame is permitted every interval; burst: of all that are permitted at once
	full            time.Time     // when the whole burst is permitted again

	header  [10]byte // of the frame that is being read, apart from its mask
	have    int      // bytes of it that were read
	payload uint64   // bytes of mask and payload that are left
}

// newMeter returns a meter with a rate limit.
func newMeter(r chat.Rate) meter {
	interval := time.Duration(float64(time.Second) / r.PerSecond)
	return meter{interval: interval, burst: time.Duration(r.Burst) * interval}
}

// pass reads bytes of the connection. It returns how many of them come before the first
// frame that is over the limit: all of them, if no frame is.
func (m *meter) pass(b []byte) int {
	for read := 0; read < len(b); {
		if m.payload > 0 {
			n := min(m.payload, uint64(len(b)-read))
			m.payload -= n
			read += int(n)
			continue
		}
		m.header[m.have] = b[read]
		m.have++
		if m.have == 1 && counts(b[read]) && !m.permit(time.Now()) {
			return read
		}
		read++
		if m.have >= 2 && m.have == headerSize(m.header[1]) {
			m.payload = payloadSize(m.header)
			m.have = 0
		}
	}
	return len(b)
}

// permit counts a frame, unless it is over the limit.
func (m *meter) permit(now time.Time) bool {
	if m.full.Before(now) {
		m.full = now
	}
	full := m.full.Add(m.interval)
	if full.Sub(now) > m.burst {
		return false
	}
	m.full = full
	return true
}

// counts reports whether a frame with this first byte is a control frame or a continuation.
// A close frame is not counted, since it is the last.
func counts(first byte) bool {
	opcode := first & 0xf
	return opcode == 0x0 || opcode > 0x8
}

// headerSize returns the size of a frame's header without its mask, by the second byte.
func headerSize(second byte) int {
	switch second & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// payloadSize returns the size of a frame's mask and payload.
func payloadSize(header [10]byte) uint64 {
	size := uint64(header[1] & 0x7f)
	if n := headerSize(header[1]); n > 2 {
		size = 0
		for _, b := range header[2:n] {
			size = size<<8 | uint64(b)
		}
	}
	if masked := header[1]&0x80 != 0; masked {
		size += 4
	}
	return size
}
