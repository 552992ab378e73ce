package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"github.com/kabar-gateway/kabar/dispatcher/live"
)

// bareSocketsCmd runs the bare server for the process that started it.
type bareSocketsCmd struct{}

// Run implements the command.
func (bareSocketsCmd) Run(e *env) error {
	b := &BareSockets{}
	defer b.close()
	return serveParent(e, b)
}

// BareSockets is the bare server of live sockets in a child process. It uses
// coder/websocket to write a frame to a socket for each published event, and does nothing
// else: it authenticates nobody, and stores and counts nothing.
type BareSockets struct {
	fresh         bool
	before, after []byte // of the frame, around the event's number
	server        *http.Server
	serving       sync.WaitGroup // the server, and readers that are not its own

	mu      sync.Mutex
	sockets map[int64]*websocket.Conn // by user
}

// BareSocketsOptions configure the bare server.
type BareSocketsOptions struct {
	// Fresh reads each socket in a new goroutine and lets the handler return, which frees
	// net/http's buffers and stack. Otherwise the handler reads, as in coder/websocket's
	// examples.
	Fresh bool
	// Frame is the frame of an event; its number is replaced. Nothing is sent
	// without it.
	Frame []byte
}

// Start starts the server and returns its address.
func (b *BareSockets) Start(o BareSocketsOptions, address *string) error {
	b.fresh, b.sockets = o.Fresh, make(map[int64]*websocket.Conn)
	if len(o.Frame) > 0 {
		_, begin, end, ok := number(o.Frame)
		if !ok {
			return fmt.Errorf("no number in the frame %s", o.Frame)
		}
		b.before, b.after = o.Frame[:begin], o.Frame[end:]
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/live", b.accept)
	mux.HandleFunc("POST /v2/events.json", b.publish)
	b.server = &http.Server{Handler: mux}
	b.serving.Go(func() { _ = b.server.Serve(l) }) // until close
	*address = l.Addr().String()
	return nil
}

// Collect collects garbage.
func (b *BareSockets) Collect(None, *None) error {
	runtime.GC()
	return nil
}

// Open returns how many sockets are open.
func (b *BareSockets) Open(_ None, n *int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	*n = len(b.sockets)
	return nil
}

// accept accepts a socket, and sends it the events that its query asks for: how many, the
// number of the first one, and the step between two.
func (b *BareSockets) accept(w http.ResponseWriter, r *http.Request) {
	name, _, _ := r.BasicAuth()
	user, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		http.Error(w, "who is it?", http.StatusUnauthorized)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{live.Subprotocol}})
	if err != nil {
		return // it was answered
	}
	b.mu.Lock()
	b.sockets[user] = ws
	b.mu.Unlock()
	query := r.URL.Query()
	missed, _ := strconv.Atoi(query.Get("missed"))
	first, _ := strconv.ParseInt(query.Get("first"), 10, 64)
	step, _ := strconv.ParseInt(query.Get("step"), 10, 64)
	var frame []byte
	for k := range int64(missed) {
		frame = b.frame(frame, first+k*step)
		if ws.Write(context.Background(), websocket.MessageText, frame) != nil {
			break // its reader sees why
		}
	}
	if b.fresh {
		b.serving.Go(func() { b.read(user, ws) })
		return
	}
	b.read(user, ws)
}

// read waits for the end of a socket.
func (b *BareSockets) read(user int64, ws *websocket.Conn) {
	_, _, _ = ws.Read(context.Background())
	_ = ws.CloseNow()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sockets[user] == ws {
		delete(b.sockets, user)
	}
}

// frame writes the frame of an event over an older one.
func (b *BareSockets) frame(over []byte, number int64) []byte {
	frame := append(over[:0], b.before...)
	frame = strconv.AppendInt(frame, number, 10)
	return append(frame, b.after...)
}

var receiverHead = []byte(`"receiver_id":`)

var errNoSocket = errors.New("an event for nobody")

// publish writes the frame of each event in the request to its receiver's socket,
// and answers as the gateway does. It looks for two numbers in the text and does
// not read the rest.
func (b *BareSockets) publish(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	batch, count := bytes.HasPrefix(body, []byte("[")), 0
	var frame []byte
	for {
		at := bytes.Index(body, receiverHead)
		if at < 0 {
			break
		}
		body = body[at+len(receiverHead):]
		user, _ := digits(body)
		n, _, end, _ := number(body)
		body = body[end:]
		frame = b.frame(frame, n)
		if err := b.send(r.Context(), user, frame); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		count++
	}
	w.Header().Set("Content-Type", "application/json")
	const one = `{"status":"OK"}`
	if !batch {
		_, _ = io.WriteString(w, one)
		return
	}
	_, _ = io.WriteString(w, `{"status":"OK","results":[`+strings.TrimSuffix(strings.Repeat(one+",", count), ",")+`]}`)
}

func (b *BareSockets) send(ctx context.Context, user int64, frame []byte) error {
	b.mu.Lock()
	ws := b.sockets[user]
	b.mu.Unlock()
	if ws == nil {
		return errNoSocket
	}
	return ws.Write(ctx, websocket.MessageText, frame)
}

// close ends the server and its sockets.
func (b *BareSockets) close() {
	if b.server == nil {
		return
	}
	_ = b.server.Close() // which leaves the sockets alone
	b.mu.Lock()
	open := slices.Collect(maps.Values(b.sockets))
	b.mu.Unlock()
	for _, ws := range open {
		_ = ws.CloseNow()
	}
	b.serving.Wait()
}

// A bareServer is a process of the bare server.
type bareServer struct {
	*child
	client *client
}

// startBareSockets starts a bare server.
func startBareSockets(ctx context.Context, o BareSocketsOptions, log io.Writer) (*bareServer, error) {
	c, err := startChild("serve-bare-sockets", log)
	if err != nil {
		return nil, err
	}
	address, err := ask[string](ctx, c, "Start", o)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return &bareServer{c, newClient(address, "", "")}, nil
}

// collect has the server collect its garbage.
func (b *bareServer) collect(ctx context.Context) error {
	return b.tell(ctx, "Collect", None{})
}

// holds waits until the server has a number of sockets. It registers a socket only after it
// has answered the client.
func (b *bareServer) holds(ctx context.Context, sockets int) error {
	return until(ctx, fmt.Sprintf("the bare server has %d sockets", sockets), func() (bool, error) {
		open, err := ask[int](ctx, b.child, "Open", None{})
		return open == sockets, err
	})
}

func (b *bareServer) close() error {
	b.client.close()
	return b.child.close()
}
