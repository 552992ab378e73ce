package live

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
)

// A rawClient writes bytes of its own to a websocket, and reads whole frames.
type rawClient struct {
	t    testing.TB
	conn net.Conn
	from *bufio.Reader
}

// dialRaw opens a socket and waits for hello.
func (p *process) dialRaw(user int64) *rawClient {
	t := p.w.t
	t.Helper()
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	c := &rawClient{t: t, conn: conn, from: bufio.NewReader(conn)}
	c.write(fmt.Appendf(nil, "GET /?user=%d HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: %s\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
		user, u.Host, Subprotocol))
	resp, err := http.ReadResponse(c.from, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v, %v", resp, err)
	}
	if opcode, payload := c.read(); opcode != 0x1 || !bytes.HasPrefix(payload, []byte(`{"op":"hello"`)) {
		t.Fatalf("opcode %x: %s", opcode, payload)
	}
	return c
}

func (c *rawClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// read reads a frame. The opcode is 0 when the connection has ended.
func (c *rawClient) read() (opcode byte, payload []byte) {
	c.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(c.from, head[:]); err != nil {
		return 0, nil
	}
	size := int(head[1])
	if size == 126 {
		var long [2]byte
		if _, err := io.ReadFull(c.from, long[:]); err != nil {
			return 0, nil
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	}
	payload = make([]byte, size)
	if _, err := io.ReadFull(c.from, payload); err != nil {
		return 0, nil
	}
	return head[0] & 0xf, payload
}

// closed reads until the socket is closed, and returns the close code, or 0 without one,
// and the number of pongs before.
func (c *rawClient) closed() (code, pongs int) {
	c.t.Helper()
	for {
		switch opcode, payload := c.read(); opcode {
		case 0xa:
			pongs++
		case 0x8:
			return int(binary.BigEndian.Uint16(payload)), pongs
		case 0:
			return 0, pongs
		}
	}
}

// masked returns a masked frame whose first byte is first.
func masked(first byte, payload string) []byte {
	b := []byte{first}
	if len(payload) < 126 {
		b = append(b, 0x80|byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(payload)))
	}
	return append(append(b, 0, 0, 0, 0), payload...) // a mask of zeros leaves the payload as it is
}

const (
	ping, pong, text0, more = 0x89, 0x8a, 0x01, 0x00 // first bytes; text0 and more are fragments that are not the last
)

// A client that repeats frames which cost it nothing, and which no reader ever sees, is
// closed with 4008.
func TestControlFramesAreLimited(t *testing.T) {
	const burst = 5
	w := newWorld(t)
	for name, tc := range map[string]struct {
		before, repeated []byte
		pongs            int
	}{
		"pings":               {nil, masked(ping, "p"), burst},
		"pongs":               {nil, masked(pong, ""), 0},
		"empty continuations": {masked(text0, "{"), masked(more, ""), 0},
		"long continuations":  {masked(text0, "{"), masked(more, string(bytes.Repeat([]byte(" "), 200))), 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.start(func(o *Options) { o.ControlFrames = chat.Rate{PerSecond: 0.0001, Burst: burst} })
			c := p.dialRaw(66)
			c.write(append(tc.before, bytes.Repeat(tc.repeated, 1000)...))
			code, pongs := c.closed()
			if code != int(codeTooMany) || pongs != tc.pongs {
				t.Errorf("closed with %d after %d pongs", code, pongs)
			}
			c.conn.Close()
			eventually(t, "counted", func() bool { return testutil.ToFloat64(p.metrics.closed.WithLabelValues("4008")) == 1 })
		})
	}
}

// Control frames within the limit are answered, and a message in several frames arrives.
func TestControlFramesWithinTheLimit(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.ControlFrames = chat.Rate{PerSecond: 0.0001, Burst: 5} })
	c := p.dialRaw(66)
	for i := range 3 {
		c.write(masked(ping, strconv.Itoa(i)))
		if opcode, payload := c.read(); opcode != 0xa || string(payload) != strconv.Itoa(i) {
			t.Errorf("opcode %x: %s", opcode, payload)
		}
	}
	c.write(masked(text0, `{"op":"se`))
	c.write(masked(more, `en","se`))
	c.write(masked(0x80, `q":1}`))
	if opcode, payload := c.read(); opcode != 0x1 || !bytes.Contains(payload, []byte(`"ack"`)) {
		t.Errorf("opcode %x: %s", opcode, payload)
	}
}

// Frames that break the protocol end the socket with 1002, also when the client sends more
// behind them.
func TestMalformedFramesEndWithProtocolError(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	long := string(bytes.Repeat([]byte("x"), 200))
	ended := 0
	for name, malformed := range map[string][]byte{
		"a fragment of a ping":             masked(0x09, ""),
		"a fragment of a close frame":      masked(0x08, ""),
		"a long ping":                      masked(ping, long),
		"a ping with RSV1":                 masked(0x89|0x40, ""),
		"a pong with RSV2":                 masked(0x8a|0x20, ""),
		"a close frame with RSV3":          masked(0x88|0x10, "\x03\xe8"),
		"an unknown control frame":         masked(0x8b, ""),
		"an unknown frame":                 masked(0x83, ""),
		"an unmasked ping":                 {ping, 0},
		"an unmasked frame":                {0x81, 2, '{', '}'},
		"a close frame of one byte":        masked(0x88, "x"),
		"a close frame with a silly code":  masked(0x88, "\x03\xed"),
		"a continuation of nothing":        masked(0x80, "x"),
		"a message inside of another one":  append(masked(text0, "{"), masked(0x81, "}")...),
		"a length that is negative":        {0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"a malformed frame of a long text": append(masked(text0, long), masked(0x89|0x40, "")...),
	} {
		c := p.dialRaw(66)
		c.write(append(malformed, bytes.Repeat(masked(0x81, "{}"), 100)...))
		if code, _ := c.closed(); code != int(codeProtocol) {
			t.Errorf("%s: closed with %d", name, code)
		}
		c.conn.Close()
		ended++
	}
	eventually(t, "counted", func() bool { return testutil.ToFloat64(p.metrics.closed.WithLabelValues("1002")) == float64(ended) })
}

// A meter counts the same frames however the bytes are cut.
func TestMeterIsNotConfusedByCuts(t *testing.T) {
	var all []byte
	counted := 0
	for i := range 200 {
		first := []byte{ping, pong, text0, more, 0x80, 0x81, 0x82, 0x88}[i%8]
		payload := string(bytes.Repeat([]byte{0x89}, []int{0, 1, 125, 126, 127, 4000}[i%6]))
		if all = append(all, masked(first, payload)...); counts(first) {
			counted++
		}
	}
	all = append(all, 0x89, 0xff, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 'a', 'b', 'c') // a length in eight bytes
	counted++
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		enough, few := newMeter(chat.Rate{PerSecond: 0.0001, Burst: counted}), newMeter(chat.Rate{PerSecond: 0.0001, Burst: counted - 1})
		refused := false
		for rest := all; len(rest) > 0; {
			n := min(1+random.IntN(300), len(rest))
			if passed := enough.pass(rest[:n]); passed != n {
				t.Fatalf("seed %d: %d of %d bytes passed", seed, passed, n)
			}
			if !refused {
				refused = few.pass(rest[:n]) < n
			}
			rest = rest[n:]
		}
		if !refused || enough.have != 0 || enough.payload != 0 {
			t.Errorf("seed %d: the last frame was refused: %v; %d bytes of a header and %d of a payload are left", seed, refused, enough.have, enough.payload)
		}
	}
}
