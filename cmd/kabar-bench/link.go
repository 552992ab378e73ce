package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/live"
)

// The opcodes of RFC 6455 that servers send.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

const (
	finalFrame = 0x80 // of the first byte
	maskedBit  = 0x80 // of the second one
	linkBuffer = 2 << 10
	maxFrame   = 1 << 20 // bytes of a frame
)

var errNoServer = errors.New("not what a websocket server sends")

// A link is a websocket client that uses as little CPU as possible, to leave it to the
// server that is measured. It has one reader.
type link struct {
	tcp   *net.TCPConn
	conn  net.Conn // tcp, or TLS over it
	in    *bufio.Reader
	frame []byte
}

// An endpoint is where websockets are opened.
type endpoint struct {
	address string      // host:port
	tls     *tls.Config // nil: without TLS
}

// dialLink opens a websocket as a user. query is that of the URL.
func dialLink(ctx context.Context, at endpoint, query string, user int64) (_ *link, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", at.address)
	if err != nil {
		return nil, err
	}
	l := &link{tcp: conn.(*net.TCPConn)}
	if at.tls != nil {
		conn = tls.Client(conn, at.tls)
	}
	l.conn, l.in = conn, bufio.NewReaderSize(conn, linkBuffer)
	defer func() {
		if err != nil {
			l.drop()
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return nil, err
	}
	credentials := strconv.FormatInt(user, 10) + ":" + secret(user)
	_, err = fmt.Fprintf(conn, "GET /v2/live?%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Protocol: %s\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
		query, at.address, base64.StdEncoding.EncodeToString([]byte(credentials)), live.Subprotocol)
	if err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("handshake: %s", resp.Status)
	}
	return l, conn.SetDeadline(time.Time{})
}

// next returns the next frame of text, which is valid until the next call. Pings
// are answered on the way.
func (l *link) next() ([]byte, error) {
	for {
		op, err := l.read()
		if err != nil {
			return nil, err
		}
		switch op {
		case opText:
			return l.frame, nil
		case opPing:
			if err := l.pong(); err != nil {
				return nil, err
			}
		case opClose:
			code := 0
			if len(l.frame) >= 2 {
				code = int(binary.BigEndian.Uint16(l.frame))
			}
			return nil, fmt.Errorf("the server closed the socket: %d", code)
		default:
			return nil, fmt.Errorf("%w: opcode %d", errNoServer, op)
		}
	}
}

// read reads one whole frame into l.frame.
func (l *link) read() (op byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(l.in, head[:2]); err != nil {
		return 0, err
	}
	op = head[0] &^ finalFrame
	if head[0]&finalFrame == 0 || head[1]&maskedBit != 0 {
		return 0, fmt.Errorf("%w: a fragment, or masked", errNoServer)
	}
	size := uint64(head[1])
	switch size {
	case 126:
		_, err = io.ReadFull(l.in, head[:2])
		size = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, err = io.ReadFull(l.in, head[:8])
		size = binary.BigEndian.Uint64(head[:8])
	}
	if err != nil {
		return 0, err
	}
	if size > maxFrame {
		return 0, fmt.Errorf("%w: a frame of %d bytes", errNoServer, size)
	}
	if uint64(cap(l.frame)) < size {
		l.frame = make([]byte, size)
	}
	l.frame = l.frame[:size]
	_, err = io.ReadFull(l.in, l.frame)
	return op, err
}

// pong answers the ping that was just read. Clients mask what they send; a mask of
// zeros leaves it as it is.
func (l *link) pong() error {
	if len(l.frame) > 125 {
		return fmt.Errorf("%w: a ping of %d bytes", errNoServer, len(l.frame))
	}
	frame := append([]byte{finalFrame | opPong, maskedBit | byte(len(l.frame)), 0, 0, 0, 0}, l.frame...)
	_, err := l.conn.Write(frame)
	return err
}

// drop resets the connection, as when a phone loses its network. It leaves no port in
// TIME_WAIT, so that thousands can reconnect at once, again and again.
func (l *link) drop() {
	_ = l.tcp.SetLinger(0)
	_ = l.tcp.Close()
}
